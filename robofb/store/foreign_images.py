"""Turn images as other formats store them into ours, (T, C, H, W) uint8, and back."""

from __future__ import annotations

import re

import numpy as np

from robofb.errors import UserError
from robofb.normalize import is_image
from robofb.store.foreign import safe_key
from robofb.types import ArraySpec

CHANNELS = (1, 3, 4)


def camera_key(name: str) -> str:
    """Return the observation key of a camera: "agentview_image" and "agentview" become "image_agentview"."""
    camera = re.sub(r"_(image|rgb|img)$|^(image|img)s?_", "", safe_key(name))
    return f"image_{camera}"


def looks_like_image(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Return whether rows (without the time axis) are images: (H, W, C) or (C, H, W) uint8, or RGB floats."""
    if len(shape) != 3:
        return False
    if dtype == np.uint8:
        return shape[-1] in CHANNELS or shape[0] in CHANNELS
    return dtype.kind == "f" and (shape[-1] == 3 or shape[0] == 3)


def channels_first(shape: tuple[int, ...]) -> bool:
    """Return whether an image shape is (C, H, W) rather than (H, W, C), which is taken where both fit."""
    return shape[-1] not in CHANNELS and shape[0] in CHANNELS


def image_spec(shape: tuple[int, ...]) -> ArraySpec:
    """Return the spec (C, H, W) uint8 of images stored as (H, W, C) or (C, H, W)."""
    chw = shape if channels_first(shape) else (shape[2], shape[0], shape[1])
    return ArraySpec(tuple(int(size) for size in chw), "uint8", "sRGB")


def to_image_rows(rows: np.ndarray, name: str) -> np.ndarray:
    """Return images (T, C, H, W) uint8 of stored ones, (T, H, W, C) or (T, C, H, W), uint8 or float.

    Raises:
        UserError: floats that are not whole numbers in 0..255, so that uint8 would lose something.
    """
    if rows.dtype != np.uint8:
        whole = rows.astype(np.uint8) if ((rows >= 0) & (rows <= 255)).all() else None
        if whole is None or not np.array_equal(whole, rows):
            raise UserError(
                f"images '{name}' are {rows.dtype} in {rows.min():g}..{rows.max():g} and not whole numbers"
                f" in 0..255: they cannot become uint8 without loss"
            )
        rows = whole
    return rows if channels_first(rows.shape[1:]) else np.ascontiguousarray(np.moveaxis(rows, -1, 1))


def images_last(rows: np.ndarray, spec: ArraySpec) -> np.ndarray:
    """Return images as (T, H, W, C), other rows as they are."""
    return np.ascontiguousarray(np.moveaxis(rows, 1, -1)) if is_image(spec) else rows
