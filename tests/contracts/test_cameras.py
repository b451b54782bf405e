"""Hold every camera that has a config to what deployment relies on."""

from __future__ import annotations

import inspect
import time
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from camera_makers import CONFIGS, MAKERS, Made
from omegaconf import OmegaConf

from robofb.build import build
from robofb.deploy.cameras.camera import Camera, CameraLostError, Frame
from robofb.deploy.cameras.synthetic import BAR_COLOURS, number_in
from robofb.errors import DeviceLostError

NAMES = sorted(file.stem for file in CONFIGS.glob("*.yaml"))
MANY = 1000  # more pictures than any of them has left once it is lost


@pytest.fixture(params=NAMES)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    with MAKERS[request.param](tmp_path) as made:
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_config_sets_everything(name: str) -> None:
    for entry in OmegaConf.load(CONFIGS / f"{name}.yaml").cameras.values():
        for missing in OmegaConf.missing_keys(entry):
            entry[missing.rpartition(".")[2]] = "http://x/"
        taken = inspect.signature(type(build(entry, "front"))).parameters
        assert set(entry) == {"_target_", "_partial_", *taken} - {"name"}


def test_constructing_opens_nothing(made: Made) -> None:
    assert isinstance(made.camera, Camera) and made.camera.name == "front"
    with pytest.raises(CameraLostError, match="camera front .*not connected"):
        made.camera.read()
    made.camera.close()


def test_pictures_are_new_and_say_when_and_which(made: Made) -> None:
    made.camera.connect()
    made.camera.connect()  # changes nothing
    before = time.monotonic()
    frames = [made.camera.read() for _ in range(5)]
    assert all(later.captured_s > sooner.captured_s for sooner, later in pairwise(frames))
    assert all(later.sequence > sooner.sequence for sooner, later in pairwise(frames))
    assert before - 1 < frames[0].captured_s and frames[-1].captured_s <= time.monotonic()
    for sooner, later in pairwise(frames):
        assert number_in(later.image) - number_in(sooner.image) >= later.sequence - sooner.sequence
        assert later.digest != sooner.digest


def test_pictures_are_rgb_and_the_receivers_own(made: Made) -> None:
    made.camera.connect()
    frame = made.camera.read()
    assert frame.digest == zlib.crc32(frame.image.tobytes())
    kept = frame.image.copy()
    made.camera.read()
    np.testing.assert_array_equal(frame.image, kept)
    assert frame.image.dtype == np.uint8 and frame.image.ndim == 3
    height, width = frame.image.shape[:2]
    for number, colour in enumerate(BAR_COLOURS):
        seen = frame.image[height * 9 // 10, width * (2 * number + 1) // 6].astype(int)
        assert np.abs(seen - colour).max() < 40


def read_until_lost(camera: Camera) -> tuple[Frame | None, CameraLostError]:
    """Return the last picture that came, and what was said then."""
    frame = None
    for _ in range(MANY):
        try:
            frame = camera.read()
        except CameraLostError as error:
            return frame, error
    raise AssertionError("it was never lost")


def test_lost_it_says_which_and_from_where(made: Made) -> None:
    made.camera.connect()
    made.camera.read()
    made.lose()
    _, error = read_until_lost(made.camera)
    assert isinstance(error, DeviceLostError)
    assert str(error).startswith("camera front (") and "\n" not in str(error)
    with pytest.raises(CameraLostError):
        made.camera.read()


def test_closes_twice_and_goes_on_when_connected_again(made: Made) -> None:
    made.camera.connect()
    before = made.camera.read()
    made.camera.close()
    made.camera.close()
    with pytest.raises(CameraLostError, match="not connected"):
        made.camera.read()
    made.camera.connect()
    after = made.camera.read()
    assert after.sequence > before.sequence and after.captured_s > before.captured_s
