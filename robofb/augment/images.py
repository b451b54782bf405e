"""Random changes of image batches, on their device, each image by a draw of its own.

Images are (B, C, H, W), uint8 0..255 or float 0..1; each function returns the same type and draws
from the generator it is given, which must live on the images' device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from robofb.errors import UserError

LEAST_SIGMA_PX = 0.1  # below it a blur changes nothing
_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


def random_crop(
    images: Tensor, height: int, width: int, generator: torch.Generator, *, reach: float = 1.0
) -> Tensor:
    """Return windows (B, C, height, width) at places drawn uniformly, one for each image.

    Args:
        reach: share of the room on each side of the middle window that windows may move into, in [0, 1].

    Raises:
        UserError: the images are smaller than that.
    """
    size, _, tall, wide = images.shape
    _check_fits(tall, wide, height, width)
    top, left = (
        torch.randint(*_places(room, reach), (size,), generator=generator, device=images.device)
        for room in (tall - height, wide - width)
    )
    return crop_at(images, top, left, height, width)


def _places(room_px: int, reach: float) -> tuple[int, int]:
    """Return the first place of a window along an axis, and the last one plus one."""
    middle = room_px // 2
    return middle - int(reach * middle), middle + int(reach * (room_px - middle)) + 1


def centre_crop(images: Tensor, height: int, width: int) -> Tensor:
    """Return the middle windows (..., height, width): what a policy sees when it acts."""
    tall, wide = images.shape[-2:]
    _check_fits(tall, wide, height, width)
    top, left = (tall - height) // 2, (wide - width) // 2
    return images[..., top : top + height, left : left + width]


def _check_fits(tall: int, wide: int, height: int, width: int) -> None:
    if not (1 <= height <= tall and 1 <= width <= wide):
        raise UserError(f"a crop of {height} x {width} does not fit images of {tall} x {wide} pixels")


def crop_at(images: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Return windows whose first row and column are `top` and `left` (B,)."""
    rows = top[:, None] + torch.arange(height, device=images.device)  # (B, height)
    columns = left[:, None] + torch.arange(width, device=images.device)
    image = torch.arange(len(images), device=images.device)[:, None, None]
    picked = images.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)  # (B, C, height, width)


def colour_jitter(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Scale brightness, contrast and saturation of RGB images, in this order.

    Each factor is drawn from U(1 - strength, 1 + strength), three for each image.

    Raises:
        UserError: the strength lies outside [0, 1].
    """
    return jitter_by(images, jitter_factors(len(images), strength, generator))


def jitter_factors(count: int, strength: float, generator: torch.Generator) -> Tensor:
    """Return factors (count, 3) of brightness, contrast and saturation, from U(1 - strength, 1 + strength).

    Raises:
        UserError: the strength lies outside [0, 1].
    """
    if not 0 <= strength <= 1:
        raise UserError(f"strength={strength}: must lie in 0..1")
    draw = torch.rand(count, 3, generator=generator, device=generator.device)
    return 1 + strength * (2 * draw - 1)


def jitter_by(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply brightness, contrast (about the mean grey) and saturation (about grey) by factors (B, 3)."""
    brightness, contrast, saturation = factors.to(torch.float32)[:, :, None, None, None].unbind(1)
    pixels = (_to_float(images) * brightness).clamp(0, 1)
    mean = _grey(pixels).mean((-2, -1), keepdim=True)
    pixels = (mean + contrast * (pixels - mean)).clamp(0, 1)
    grey = _grey(pixels)
    return _like((grey + saturation * (pixels - grey)).clamp(0, 1), images)


def blur(images: Tensor, most_sigma_px: float, generator: torch.Generator) -> Tensor:
    """Blur each image by a Gaussian whose deviation is drawn from U(0.1, most_sigma_px); edges repeat.

    Raises:
        UserError: the deviation is below 0.1.
    """
    if not most_sigma_px >= LEAST_SIGMA_PX:
        raise UserError(f"most_sigma_px={most_sigma_px}: needs at least {LEAST_SIGMA_PX}")
    draw = torch.rand(len(images), generator=generator, device=images.device)
    sigma_px = LEAST_SIGMA_PX + draw * (most_sigma_px - LEAST_SIGMA_PX)
    return blur_by(images, sigma_px, radius_px=int(3 * most_sigma_px) + 1)


def blur_by(images: Tensor, sigma_px: Tensor, radius_px: int) -> Tensor:
    """Blur by Gaussians of deviations (B,), cut off at `radius_px`; the weights sum to 1."""
    size, channels, _, _ = images.shape
    offsets = torch.arange(-radius_px, radius_px + 1, device=images.device, dtype=torch.float32)
    weights = torch.exp(-0.5 * (offsets / sigma_px.to(torch.float32)[:, None]) ** 2)
    weights = weights / weights.sum(1, keepdim=True)
    kernel = weights.repeat_interleave(channels, 0)  # (B C, K): every image has its own
    pixels = _to_float(images).flatten(0, 1).unsqueeze(0)  # (1, B C, H, W)
    for shape, padding in (
        ((-1, 1, 1, len(offsets)), (radius_px, radius_px, 0, 0)),
        ((-1, 1, len(offsets), 1), (0, 0, radius_px, radius_px)),
    ):
        padded = F.pad(pixels, padding, mode="replicate")
        pixels = F.conv2d(padded, kernel.view(shape), groups=size * channels)
    return _like(pixels[0].unflatten(0, (size, channels)), images)


def drop_cameras(
    images: Mapping[str, Tensor], share: float, generator: torch.Generator, cameras: Iterable[str]
) -> dict[str, Tensor]:
    """Black out whole cameras: each of `cameras`, by itself, in a share of the samples.

    Args:
        images: (B, ...) by key, of which some are cameras.
        share: in [0, 1].

    Raises:
        UserError: no such camera, or a share outside its bounds.
    """
    if not 0 <= share <= 1:
        raise UserError(f"share={share}: must lie in 0..1")
    result = dict(images)
    for key in cameras:
        if key not in images:
            raise UserError(f"there is no camera '{key}'; there are {', '.join(images)}")
        batch = images[key]
        dropped = torch.rand(len(batch), generator=generator, device=batch.device) < share
        result[key] = batch.masked_fill(dropped.view(-1, *[1] * (batch.ndim - 1)), 0)
    return result


def _grey(pixels: Tensor) -> Tensor:
    """Return the luma (B, 1, H, W) of RGB images."""
    luma = torch.tensor(_LUMA, device=pixels.device)
    return (pixels * luma[:, None, None]).sum(1, keepdim=True)


def _to_float(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _like(pixels: Tensor, images: Tensor) -> Tensor:
    """Return float pixels in the type of `images`, whose whole numbers are the nearest."""
    if images.dtype == torch.uint8:
        return (pixels * 255).round().clamp(0, 255).to(torch.uint8)
    return pixels.to(images.dtype)
