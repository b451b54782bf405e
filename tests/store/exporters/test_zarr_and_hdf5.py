"""What diffusion_policy and robomimic write, read by the formats' own libraries."""

import json

import h5py
import numpy as np
import zarr
from format_examples import LENGTHS, episode, robofb

from robofb.store.convert import convert

EPISODES = [episode(number, steps) for number, steps in enumerate(LENGTHS)]


def test_diffusion_policy_finds_its_arrays(tmp_path):
    convert(robofb(tmp_path), tmp_path / "there", target_format="diffusion_policy")
    root = zarr.open_group(tmp_path / "there", mode="r")
    assert root.metadata.zarr_format == 2
    ends = root["meta/episode_ends"][:]
    assert (ends.dtype, ends.tolist()) == (np.int64, [3, 8])
    assert [array.shape[0] for _, array in root["data"].arrays()] == [8] * len(
        list(root["data"].array_keys())
    )
    images = np.concatenate([one.obs["image_front"][:-1] for one in EPISODES]).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(root["data/image_front"][:], images)
    np.testing.assert_array_equal(root["data/action"][:], np.concatenate([one.action for one in EPISODES]))
    header = json.loads((tmp_path / "there/data/state/.zarray").read_text())
    assert header["compressor"]["id"] == "blosc"
    assert "filters" not in header or header["filters"] is None


def test_robomimic_finds_its_demos(tmp_path):
    convert(robofb(tmp_path), tmp_path / "there.hdf5", target_format="robomimic")
    with h5py.File(tmp_path / "there.hdf5") as file:
        assert file["data"].attrs["total"] == 8
        assert json.loads(file["data"].attrs["env_args"])["env_kwargs"] == {"control_freq": 10.0}
        assert [name.decode() for name in file["mask/train"][:]] == ["demo_1"]
        for number, one in enumerate(EPISODES):
            demo = file[f"data/demo_{number}"]
            assert demo.attrs["num_samples"] == LENGTHS[number]
            np.testing.assert_array_equal(demo["actions"][:], one.action)
            np.testing.assert_array_equal(demo["obs/state"][:], one.obs["state"][:-1])
            np.testing.assert_array_equal(demo["next_obs/state"][:], one.obs["state"][1:])
            np.testing.assert_array_equal(demo["states"][:], one.obs["sim_state"][:-1])
            np.testing.assert_array_equal(
                demo["obs/image_front"][:], one.obs["image_front"][:-1].transpose(0, 2, 3, 1)
            )
            assert demo["obs/image_front"].compression == "gzip"
            assert demo["dones"][:].sum() == one.terminated
