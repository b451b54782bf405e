"""From a camera's picture to the size that a policy sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from robofb.deploy.cameras.packages import load_opencv
from robofb.errors import UserError


class Intrinsics(NamedTuple):
    """A pinhole camera [px]; whole coordinates are the middles of pixels.

    Attributes:
        height, width: of the picture.
        focal_x, focal_y: focal length in units of a pixel's width and height.
        centre_x, centre_y: where the optical axis meets the picture, from the first pixel's middle.
    """

    height: int
    width: int
    focal_x: float
    focal_y: float
    centre_x: float
    centre_y: float


class Window(NamedTuple):
    """The part of a picture that is kept [px]."""

    top: int
    left: int
    height: int
    width: int


def middle_window(
    size: tuple[int, int], height: int, width: int, crop: Sequence[float] | None = None
) -> Window:
    """Return the middle of a picture of `size` that becomes one of height x width.

    Args:
        size: height and width of the picture.
        height, width: that it becomes.
        crop: shares of height and width that are kept, in 0..1, whatever that does to proportions. None keeps
            the largest part with the proportions of height x width, so that nothing is stretched.

    Raises:
        UserError: no such shares, or the part is smaller than what it shall become.
    """
    tall, wide = size
    if crop is None:
        scale = min(tall / height, wide / width)
        kept = (round(scale * height), round(scale * width))
    elif len(crop) == 2 and all(0 < share <= 1 for share in crop):
        kept = (round(crop[0] * tall), round(crop[1] * wide))
    else:
        raise UserError(f"crop={list(crop)}: needs shares of height and width, above 0 and at most 1")
    if kept[0] < height or kept[1] < width:
        raise UserError(
            f"a picture of {tall} x {wide} pixels (height x width) leaves {kept[0]} x {kept[1]} for one of"
            f" {height} x {width}: let the camera take a larger one, or crop less"
        )
    return Window((tall - kept[0]) // 2, (wide - kept[1]) // 2, *kept)


def fitted(image: np.ndarray, height: int, width: int, crop: Sequence[float] | None = None) -> np.ndarray:
    """Return the middle of a picture, scaled down by area: each pixel is the mean of what it covers.

    Args:
        image: (H, W, 3) uint8.
        height, width: of the result [px].
        crop: see `middle_window`.

    Returns:
        (3, height, width) uint8, as in datasets. A picture of that size already is unchanged, as simulated
        ones are, which are rendered at the size that the policy sees.

    Raises:
        UserError: as `middle_window`, or OpenCV is missing.
    """
    window = middle_window(image.shape[:2], height, width, crop)
    part = image[window.top : window.top + window.height, window.left : window.left + window.width]
    if part.shape[:2] != (height, width):
        cv2 = load_opencv()
        part = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(part.transpose(2, 0, 1))


def fitted_intrinsics(
    lens: Intrinsics, height: int, width: int, crop: Sequence[float] | None = None
) -> Intrinsics:
    """Return the intrinsics of the pictures that `fitted` makes.

    Raises:
        UserError: as `middle_window`.
    """
    window = middle_window((lens.height, lens.width), height, width, crop)
    down, across = height / window.height, width / window.width
    return Intrinsics(
        height,
        width,
        across * lens.focal_x,
        down * lens.focal_y,
        across * (lens.centre_x + 0.5 - window.left) - 0.5,
        down * (lens.centre_y + 0.5 - window.top) - 0.5,
    )
