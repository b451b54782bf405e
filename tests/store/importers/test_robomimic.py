import json
from contextlib import ExitStack

import h5py
import numpy as np
import pytest
from format_examples import ACTION, IMAGE, STATE, robomimic

from robofb.errors import UserError
from robofb.store.foreign import Wishes
from robofb.store.importers import open_source


def read(path, **wishes):
    with ExitStack() as stack:
        _, source = open_source(path, "auto", Wishes(**wishes), stack)
        return source, list(source.episodes())


def test_demos_come_in_numeric_order_with_what_the_file_says(tmp_path):
    source, (first, second) = read(robomimic(tmp_path))
    assert (first.meta["demo"], second.meta["demo"]) == ("demo_2", "demo_10")
    assert (source.spec.task, 1 / source.spec.control_dt) == ("Lift", pytest.approx(20.0))
    np.testing.assert_array_equal(first.action, ACTION[:3])
    np.testing.assert_array_equal(second.obs["robot0_eef_pos"][:-1], STATE[3:])
    np.testing.assert_array_equal(second.obs["image_agentview"][:-1], IMAGE[3:].transpose(0, 3, 1, 2))
    assert (first.success, second.success) == (True, False)  # by rewards
    assert first.terminated and second.terminated


def test_next_obs_gives_the_last_observation_and_without_it_the_last_is_repeated(tmp_path):
    path = robomimic(tmp_path)
    source, (first, _) = read(path)
    np.testing.assert_array_equal(
        first.obs["robot0_eef_pos"][3], (STATE[2].astype(np.float64) + 1).astype(np.float32)
    )
    np.testing.assert_array_equal(first.obs["image_agentview"][3], (IMAGE[2] + 1).transpose(2, 0, 1))
    np.testing.assert_array_equal(first.obs["simulator_states"][3], first.obs["simulator_states"][2])
    assert first.obs["simulator_states"].dtype == np.float64
    assert any("repeated" in note for note in source.notes)


def test_filters_are_kept(tmp_path):
    _, (first, second) = read(robomimic(tmp_path))
    assert first.meta["filters"] == ["train"]
    assert sorted(second.meta["filters"]) == ["20_percent", "train"]


def test_other_actions_can_be_chosen(tmp_path):
    path = robomimic(tmp_path)
    source, (first, _) = read(path, action="actions_abs")
    assert first.action.shape == (3, 10) and (first.action == 1).all()
    assert "the action is 'actions_abs', one of: actions, actions_abs, action_dict/abs_pos" in source.notes
    with pytest.raises(UserError, match="it has: actions, actions_abs, action_dict/abs_pos"):
        read(path, action="velocity")


def change(path, function):
    with h5py.File(path, "a") as file:
        function(file["data"])
    return path


def test_a_count_that_is_wrong_is_refused(tmp_path):
    path = change(robomimic(tmp_path), lambda data: data["demo_2"].attrs.__setitem__("num_samples", 4))
    with pytest.raises(UserError, match="demo_2 says num_samples 4 but has 3 actions"):
        read(path)


def test_a_link_out_of_the_file_is_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(b"x" * 64)

    def link(data):
        data["demo_2/obs/secret"] = h5py.ExternalLink(str(tmp_path / "secret"), "/")

    with pytest.raises(UserError, match="secret' is a link, which is not followed"):
        read(change(robomimic(tmp_path), link))


def test_data_outside_of_the_file_is_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(b"x" * 64)

    def outside(data):
        data["demo_2/obs"].create_dataset("s", (3, 4), "f4", external=[(str(tmp_path / "secret"), 0, 64)])

    with pytest.raises(UserError, match="lies in another file, which is not read"):
        read(change(robomimic(tmp_path), outside))


def test_a_file_without_a_rate_asks_for_one(tmp_path):
    path = change(
        robomimic(tmp_path), lambda data: data.attrs.__setitem__("env_args", json.dumps({"env_name": "L"}))
    )
    with pytest.raises(UserError, match="give --rate HZ"):
        read(path)
    assert read(path, rate_hz=20.0, task="mine")[0].spec.task == "mine"


def test_another_hdf5_file_is_refused_by_what_it_lacks(tmp_path):
    h5py.File(tmp_path / "a.hdf5", "w").close()
    with pytest.raises(UserError, match="no robomimic file: it has no group 'data'"):
        read(tmp_path / "a.hdf5")
