import zipfile
from contextlib import ExitStack

import imagecodecs
import numcodecs
import numpy as np
import pytest
import zarr
from format_examples import ACTION, ENDS, IMAGE, STATE, diffusion_policy, write_zarr

from robofb.errors import UserError
from robofb.store.foreign import Wishes
from robofb.store.importers import find_importer, open_source


def read(path, **wishes):
    with ExitStack() as stack:
        _, source = open_source(path, "auto", Wishes(**{"rate_hz": 10.0, **wishes}), stack)
        return source, list(source.episodes())


def assert_read_right(episodes, key="image_main"):
    for number, (start, stop) in enumerate(((0, 3), (3, 8))):
        np.testing.assert_array_equal(episodes[number].obs["state"][:-1], STATE[start:stop])
        np.testing.assert_array_equal(episodes[number].action, ACTION[start:stop])
        if key:
            np.testing.assert_array_equal(
                episodes[number].obs[key][:-1], IMAGE[start:stop].transpose(0, 3, 1, 2)
            )


def arrays(**more):
    ends = {"meta/episode_ends": ENDS.astype(np.int64)}
    return {"data/state": STATE, "data/action": ACTION, **ends, **more}


def test_pusht_floats_become_bytes_exactly(tmp_path):
    source, episodes = read(diffusion_policy(tmp_path))
    assert_read_right(episodes, "image_img")
    assert episodes[0].obs["image_img"].dtype == np.uint8
    assert "images 'img' were float32 whole numbers and are uint8 now, exactly" in source.notes
    assert source.spec.task == "pusht"
    np.testing.assert_allclose(episodes[1].timestamps, [0, 0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("off", [0.5, -1, 256, np.nan])
def test_floats_that_are_no_bytes_are_refused(tmp_path, off):
    images = IMAGE.astype(np.float32)
    images[4, 2, 2, 1] += off - images[4, 2, 2, 1]
    with pytest.raises(UserError, match=r"images 'img' are float32 in .* cannot become uint8 without loss"):
        read(write_zarr(tmp_path / "a.zarr", arrays(**{"data/img": images})))


@pytest.mark.parametrize(
    "codec",
    [
        numcodecs.Blosc("lz4", 5, numcodecs.Blosc.NOSHUFFLE),
        numcodecs.Blosc("lz4", 5, numcodecs.Blosc.SHUFFLE),
        numcodecs.Blosc("zstd", 5, numcodecs.Blosc.BITSHUFFLE),
        numcodecs.Zstd(3),
        numcodecs.GZip(1),
    ],
    ids=str,
)
def test_codecs_in_use_are_read(tmp_path, codec):
    path = write_zarr(tmp_path / "a.zarr", arrays(**{"data/main": IMAGE}), codec)
    assert_read_right(read(path)[1])


def test_jpeg_2000_images_are_read_and_told(tmp_path):
    from imagecodecs.numcodecs import Jpeg2k, register_codecs

    register_codecs(verbose=False)
    path = write_zarr(tmp_path / "a.zarr", arrays())
    root = zarr.open_group(path, mode="a", zarr_format=2)
    array = root.create_array(
        "data/main", shape=IMAGE.shape, chunks=(1, 8, 6, 3), dtype="u1", compressors=Jpeg2k(level=50)
    )
    array[...] = IMAGE
    source, episodes = read(path)
    oracle = imagecodecs.jpeg2k_decode((path / "data/main/3.0.0.0").read_bytes())
    np.testing.assert_array_equal(
        episodes[1].obs["image_main"][0], oracle.reshape(8, 6, 3).transpose(2, 0, 1)
    )
    assert any("imagecodecs_jpeg2k, which may have lost detail" in note for note in source.notes)


def test_zips_are_read(tmp_path):
    path = diffusion_policy(tmp_path)
    packed = tmp_path / "pusht.zarr.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(path.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(path).as_posix())
    assert find_importer(packed, "auto")[0] == "diffusion_policy"
    source, episodes = read(packed)
    assert_read_right(episodes, "image_img")
    assert source.spec.task == "pusht"


def test_format_3_is_read(tmp_path):
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    for name, rows in arrays(**{"data/main": IMAGE}).items():
        root.create_array(name, data=rows)
    assert_read_right(read(tmp_path / "a.zarr")[1])


def test_recorded_times_tell_the_rate(tmp_path):
    times = np.concatenate([np.arange(3), np.arange(5)]) / 20.0
    path = write_zarr(tmp_path / "a.zarr", arrays(**{"data/timestamp": times}))
    source, episodes = read(path, rate_hz=None)
    assert 1 / source.spec.control_dt == pytest.approx(20.0)
    np.testing.assert_allclose(episodes[0].timestamps, [0, 0.05, 0.1, 0.15])


def test_without_a_rate_the_user_is_asked(tmp_path):
    with pytest.raises(UserError, match="does not say at what rate it was recorded: give --rate HZ"):
        read(diffusion_policy(tmp_path), rate_hz=None)


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ([3, 9], "cut off: its episodes end at row 9, but it has 8 rows"),
        ([3, 3, 8], "ends do not increase"),
        ([], "no episodes"),
    ],
)
def test_unsound_ends_are_refused(tmp_path, ends, message):
    with pytest.raises(UserError, match=message):
        read(write_zarr(tmp_path / "a.zarr", arrays(**{"meta/episode_ends": np.array(ends, np.int64)})))


def test_unsigned_ends_do_not_wrap(tmp_path):
    path = write_zarr(tmp_path / "a.zarr", arrays(**{"meta/episode_ends": np.array([5, 3], np.uint32)}))
    with pytest.raises(UserError, match="ends do not increase"):  # 3 - 5 is 4294967294 without a sign
        read(path)


def test_a_codec_that_runs_code_is_refused(tmp_path):
    path = write_zarr(tmp_path / "a.zarr", arrays())
    header = path / "data/state/.zarray"
    header.write_text(
        header.read_text().replace('"filters": null', '"filters": [{"id": "pickle", "protocol": 4}]')
    )
    assert "pickle" in header.read_text()
    with pytest.raises(UserError, match="codec 'pickle', which is not read: it may run code"):
        read(path)


def test_names_that_are_taken_or_odd_are_changed(tmp_path):
    path = write_zarr(tmp_path / "a.zarr", arrays(**{"data/n contacts": STATE[:, 0].astype(np.float64)}))
    source, episodes = read(path)
    assert source.spec.obs["n_contacts"].shape == (1,)
    assert "'n contacts' was float64 and is rounded to float32" in source.notes
    np.testing.assert_array_equal(episodes[0].obs["n_contacts"][:3, 0], STATE[:3, 0])
