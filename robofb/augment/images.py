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

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


def random_crop(images: Tensor, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Return windows (B, C, height, width) at places drawn uniformly, one for each image.

    Raises:
        UserError: the images are smaller than that.
    """
    size, _, tall, wide = images.shape
    if not (1 <= height <= tall and 1 <= width <= wide):
        raise UserError(f"a crop of {height} x {width} does not fit images of {tall} x {wide} pixels")
    device = images.device
    top = torch.randint(tall - height + 1, (size,), generator=generator, device=device)
    left = torch.randint(wide - width + 1, (size,), generator=generator, device=device)
    return crop_at(images, top, left, height, width)


def centre_crop(images: Tensor, height: int, width: int) -> Tensor:
    """Return the middle windows (..., height, width): what a policy sees when it acts."""
    tall, wide = images.shape[-2:]
    if not (1 <= height <= tall and 1 <= width <= wide):
        raise UserError(f"a crop of {height} x {width} does not fit images of {tall} x {wide} pixels")
    top, left = (tall - height) // 2, (wide - width) // 2
    return images[..., top : top + height, left : left + width]


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
    if not 0 <= strength <= 1:
        raise UserError(f"strength={strength}: must lie in 0..1")
    draw = torch.rand(len(images), 3, generator=generator, device=images.device)
    return jitter_by(images, 1 + strength * (2 * draw - 1))


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
    if not most_sigma_px >= 0.1:
        raise UserError(f"most_sigma_px={most_sigma_px}: needs at least 0.1")
    draw = torch.rand(len(images), generator=generator, device=images.device)
    return blur_by(images, 0.1 + draw * (most_sigma_px - 0.1), radius_px=int(3 * most_sigma_px) + 1)


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
