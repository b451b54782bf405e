"""The test picture, and the faults that its camera can be told."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from robofb.deploy.cameras.camera import CameraLostError
from robofb.deploy.cameras.fitting import fitted
from robofb.deploy.cameras.synthetic import (
    LEAST_HEIGHT,
    LEAST_WIDTH,
    SyntheticCamera,
    number_in,
    numbered_picture,
)
from robofb.errors import UserError

NUMBERS = (0, 1, 2, 0b1010_1010_1010_1010, 123_456_789, 2**32 - 1)


def compressed(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)


def smaller(image: np.ndarray) -> np.ndarray:
    return fitted(image, 96, 96, (1.0, 1.0)).transpose(1, 2, 0)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("size", [(LEAST_HEIGHT, LEAST_WIDTH), (97, 131), (480, 640)])
def test_a_picture_tells_its_number(number: int, size: tuple[int, int]) -> None:
    image = numbered_picture(number, *size)
    assert image.shape == (*size, 3) and image.dtype == np.uint8
    assert number_in(image) == number_in(compressed(image)) == number


@pytest.mark.parametrize("number", NUMBERS)
def test_a_scaled_picture_tells_its_number(number: int) -> None:
    assert number_in(smaller(numbered_picture(number, 480, 640))) == number


def test_the_upper_half_holds_the_bits_lowest_first() -> None:
    image = numbered_picture(0b101, 32, 64)  # cells of 8 x 4 pixels
    assert (image[:8, :4] == 255).all() and (image[:8, 8:12] == 255).all()
    assert image[:16].astype(int).sum() == 2 * 8 * 4 * 3 * 255


def made(**values: int | None) -> SyntheticCamera:
    camera = SyntheticCamera("front", LEAST_HEIGHT, LEAST_WIDTH, fps=200.0, timeout_s=0.05, **values)  # type: ignore[arg-type]
    camera.connect()
    return camera


def test_pictures_come_when_they_are_due_and_a_late_reader_misses_some() -> None:
    camera = made()
    first = camera.read()
    time.sleep(0.1)  # 20 periods
    later = camera.read()
    assert number_in(later.image) == later.sequence and later.sequence - first.sequence >= 20
    assert (later.captured_s - first.captured_s) * 200 == pytest.approx(later.sequence - first.sequence)


def test_connected_again_it_goes_on_with_the_next_picture() -> None:
    camera = made()
    while (before := camera.read()).sequence < 20:
        pass
    camera.close()
    before_s = time.monotonic()
    camera.connect()
    after_s = time.monotonic()
    after = camera.read()
    waited_s = (after.sequence - before.sequence - 1) / 200
    assert before_s + waited_s - 1e-6 <= after.captured_s <= after_s + waited_s + 1e-6


def read_to_end(camera: SyntheticCamera) -> str:
    while True:
        try:
            camera.read()
        except CameraLostError as error:
            return str(error)


@pytest.mark.parametrize("fault", ["freeze_at", "lose_at"])
def test_told_to_it_stops_and_goes_on(fault: str) -> None:
    camera = made(**{fault: 3})
    assert "as it was told" in read_to_end(camera)
    setattr(camera, fault, None)
    assert camera.read().sequence >= 3


def test_told_to_it_repeats_the_pixels_with_new_stamps() -> None:
    camera = made(repeat_at=0)
    frames = [camera.read() for _ in range(4)]
    assert {number_in(frame.image) for frame in frames} == {0}
    assert len({frame.digest for frame in frames}) == 1
    assert len({frame.captured_s for frame in frames}) == len({frame.sequence for frame in frames}) == 4


def test_a_picture_too_small_for_its_number_is_refused() -> None:
    with pytest.raises(UserError, match="8 x 64 .*needs 16 x 64"):
        SyntheticCamera("front", 8, 64)
