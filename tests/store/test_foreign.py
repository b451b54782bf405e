import builtins
from contextlib import ExitStack

import numcodecs
import numpy as np
import pytest
from format_examples import lerobot, robomimic

from robofb.errors import UserError
from robofb.store.checked_chunks import check_blosc
from robofb.store.foreign import Wishes, checked_ends, extended_times, safe_key
from robofb.store.foreign_images import camera_key, image_spec, to_image_rows
from robofb.store.importers import open_source


@pytest.mark.parametrize(
    ("name", "key"),
    [("state", "state"), ("n contacts", "n_contacts"), ("../x", "_x"), ("reward", "reward_obs"), ("", "_")],
)
def test_foreign_names_become_keys(name, key):
    assert safe_key(name) == key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("agentview_image", "image_agentview"),
        ("image_top", "image_top"),
        ("img", "image_img"),
        ("wrist", "image_wrist"),
    ],
)
def test_cameras_share_a_prefix(name, key):
    assert camera_key(name) == key


@pytest.mark.parametrize(
    ("stored", "channels_first"),
    [((8, 6, 3), False), ((3, 8, 6), True), ((3, 4, 3), False), ((8, 6, 1), False)],
)
def test_channels_come_first(stored, channels_first):
    rows = np.random.default_rng(0).integers(0, 256, (2, *stored), dtype=np.uint8)
    found = to_image_rows(rows, "x")
    np.testing.assert_array_equal(found, rows if channels_first else rows.transpose(0, 3, 1, 2))
    assert image_spec(stored).shape == found.shape[1:]


def test_times_go_on_for_one_period():
    assert extended_times(np.float32([0.0, 0.5]), 4.0).tolist() == [0.0, 0.5, 0.75]


def test_ends_are_signed():
    ends = checked_ends(np.array([3, 8], np.uint32), 8, "here")
    assert ends.dtype == np.int64
    assert np.diff(ends[::-1]).tolist() == [-5]


def test_blosc_reads_on_behind_a_chunk_that_was_cut_off_and_we_do_not():
    chunk = numcodecs.Blosc("lz4", 5).encode(np.random.default_rng(0).bytes(4000))
    check_blosc(chunk, "0.0")
    for length in (0, 15, 16, len(chunk) - 1):
        with pytest.raises(ValueError, match=r"chunk '0\.0' is cut off"):
            check_blosc(chunk[:length], "0.0")


@pytest.mark.parametrize(("package", "make"), [("h5py", robomimic), ("pyarrow", lerobot)])
def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch, package, make):
    path, real = make(tmp_path), builtins.__import__

    def without(name, *arguments):
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with (
        ExitStack() as stack,
        pytest.raises(UserError, match=rf"{package} is not installed: pip install 'robofb\[formats\]'"),
    ):
        open_source(path, "auto", Wishes(), stack)
