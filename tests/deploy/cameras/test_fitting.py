"""Pictures at a policy's size, by hand and against an average written out."""

from __future__ import annotations

import numpy as np
import pytest

from robofb.deploy.cameras.fitting import Intrinsics, Window, fitted, fitted_intrinsics, middle_window
from robofb.errors import UserError


def grey(rows: list[list[int]]) -> np.ndarray:
    return np.repeat(np.array(rows, np.uint8)[..., None], 3, axis=-1)


def test_each_pixel_is_the_mean_of_what_it_covers() -> None:
    image = grey([[0, 10, 20, 30], [20, 30, 40, 50]])
    image[..., 2] = 7
    small = fitted(image, 1, 2)
    assert small.shape == (3, 1, 2) and small.dtype == np.uint8
    assert small[0].tolist() == small[1].tolist() == [[15, 35]]  # (0 + 10 + 20 + 30) / 4
    assert small[2].tolist() == [[7, 7]]


def test_pixels_that_are_covered_in_part_count_in_part() -> None:
    # two pixels of one and a half each: (30 + 60 / 2) / 1.5 and (60 / 2 + 120) / 1.5
    assert fitted(grey([[30, 60, 120]] * 2), 2, 2, crop=(1.0, 1.0))[0].tolist() == [[40, 100]] * 2


def test_no_crop_keeps_proportions_and_the_middle() -> None:
    assert middle_window((480, 640), 96, 96) == Window(0, 80, 480, 480)
    assert middle_window((480, 640), 96, 128) == Window(0, 0, 480, 640)
    assert middle_window((480, 640), 48, 128) == Window(120, 0, 240, 640)
    image = grey([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert fitted(image, 2, 2)[0].tolist() == [[2, 3], [6, 7]]


def test_crop_is_shares_of_height_and_width() -> None:
    assert middle_window((480, 640), 96, 96, (0.5, 0.25)) == Window(120, 240, 240, 160)
    assert middle_window((480, 640), 96, 96, [1.0, 1.0]) == Window(0, 0, 480, 640)


@pytest.mark.parametrize("crop", [(0.0, 1.0), (1.0, 1.1), (0.5,), (float("nan"), 1.0)])
def test_shares_that_are_none_are_refused(crop: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="crop="):
        middle_window((480, 640), 96, 96, crop)


def test_a_picture_is_never_enlarged() -> None:
    with pytest.raises(UserError, match="480 x 640 .*leaves 240 x 320 for one of 256 x 256"):
        middle_window((480, 640), 256, 256, (0.5, 0.5))


def test_a_picture_of_the_right_size_is_the_same() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(fitted(image, 4, 6), image.transpose(2, 0, 1))


def test_area_is_the_mean_over_whole_blocks_whatever_the_colours() -> None:
    image = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    means = image.reshape(12, 4, 16, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.abs(fitted(image, 12, 16).astype(float) - means).max() <= 0.5


def test_a_point_is_seen_where_the_fitted_lens_says() -> None:
    """A bright block about the middle of pixel (x, y) of the picture, which a fitted pixel covers whole."""
    lens = Intrinsics(480, 640, 600.0, 610.0, 319.5, 239.5)
    small = fitted_intrinsics(lens, 96, 96)
    assert small == Intrinsics(96, 96, 120.0, 122.0, 47.5, 47.5)  # a fifth, of the middle 480 columns
    upright = Intrinsics(640, 480, 610.0, 600.0, 239.5, 319.5)
    assert fitted_intrinsics(upright, 96, 96) == Intrinsics(96, 96, 122.0, 120.0, 47.5, 47.5)
    image = np.zeros((480, 640, 3), np.uint8)
    image[300:305, 380:385] = 255  # its middle is (x, y) = (382, 302)
    across, down = (382 - lens.centre_x) / lens.focal_x, (302 - lens.centre_y) / lens.focal_y
    row, column = np.argwhere(fitted(image, 96, 96)[0] == 255)[0]
    assert small.centre_x + small.focal_x * across == pytest.approx(column)  # 60
    assert small.centre_y + small.focal_y * down == pytest.approx(row)
