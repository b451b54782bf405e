import tracemalloc
from contextlib import ExitStack

import numpy as np
import pytest
from format_examples import ACTION, IMAGE, STATE, dppo

from robofb.errors import UserError
from robofb.store.foreign import Wishes
from robofb.store.importers import open_source
from robofb.store.npz_stream import NpzStream


def read(path, **wishes):
    with ExitStack() as stack:
        _, source = open_source(path, "auto", Wishes(**{"rate_hz": 10.0, **wishes}), stack)
        return source, list(source.episodes())


def test_normalisation_is_undone_and_cameras_are_parted(tmp_path):
    source, (first, second) = read(dppo(tmp_path))
    np.testing.assert_allclose(first.obs["state"][:3], STATE[:3], atol=1e-6)
    np.testing.assert_allclose(second.action, ACTION[3:], atol=1e-6)
    np.testing.assert_array_equal(second.obs["image_0"][:5], IMAGE[3:].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(second.obs["image_1"][:5], IMAGE[::-1][3:].transpose(0, 3, 1, 2))
    assert any("normalization.npz is undone" in note for note in source.notes)
    assert source.spec.task == "lift"


def test_without_the_file_beside_it_values_stay_as_they_are(tmp_path):
    path = dppo(tmp_path)
    (path / "normalization.npz").unlink()
    source, (first, _) = read(path)
    with np.load(path / "train.npz") as stored:
        np.testing.assert_array_equal(first.obs["state"][:3], stored["states"][:3])
    assert (
        "normalization.npz is missing: states and actions stay as they are, normalised or not" in source.notes
    )


def test_episodes_can_be_read_in_any_order(tmp_path):
    with ExitStack() as stack:
        _, source = open_source(dppo(tmp_path), "auto", Wishes(rate_hz=10.0), stack)
        later, earlier, again = source.read(1), source.read(0), source.read(1)
    np.testing.assert_array_equal(later.action, again.action)
    np.testing.assert_allclose(earlier.action, ACTION[:3], atol=1e-6)


def test_passing_over_what_was_converted_before_needs_little_memory(tmp_path):
    rows = np.zeros((4_000_000, 4), np.float32)  # 64 MB
    rows[-1] = 7.0
    np.savez_compressed(tmp_path / "train.npz", states=rows)
    del rows
    with NpzStream(tmp_path / "train.npz") as stream:
        tracemalloc.start()
        last = stream.read("states", 3_999_999, 4_000_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert last.tolist() == [[7.0] * 4]
    assert peak < 8e6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"traj_lengths": np.array([3, 6])}, "end at row 9, but it has 8 rows"),
        ({"traj_lengths": np.array([3, -1])}, "do not increase"),
        ({"states": np.array([[None]] * 8)}, "'states' holds Python objects, which are not read"),
        ({"images": np.zeros((8, 4, 8, 6), np.uint8)}, "expected \\(rows, 3 x cameras, height, width\\)"),
        ({"states": np.zeros((8, 3), np.float32)}, r"obs_min has shape \(4,\), states have \(3,\)"),
    ],
)
def test_unsound_files_are_refused(tmp_path, changes, message):
    path = dppo(tmp_path)
    with np.load(path / "train.npz") as stored:
        arrays = dict(stored)
    np.savez(path / "train.npz", **{**arrays, **changes})
    with pytest.raises(UserError, match=message):
        read(path)


def test_the_rate_must_be_given(tmp_path):
    with pytest.raises(UserError, match="give --rate HZ"):
        read(dppo(tmp_path), rate_hz=None)
