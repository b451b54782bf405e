"""What a policy makes of its images: windows, scaled pixels, and a network for each camera."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robofb.augment.images import centre_crop
from robofb.errors import UserError
from robofb.nets.pretrained import load_resnet, read_weights
from robofb.nets.vision import ResNet, VisionEncoder
from robofb.types import ArraySpec, Obs

PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for pretrained weights


class ImageEncoder(nn.Module):
    """Encode every frame of every camera by itself, as a vector.

    A camera's image is cut to its window, scaled to `resize`, and given to the camera's network. When a
    policy acts the window is the middle; in training `ImageAugmentTransform` has cut one elsewhere before.

    Args:
        images: spec of each image (3, H, W) uint8, by key.
        network: builds a `ResNet`.
        pooling: builds what pools its maps from their number of channels: `SpatialSoftmax`, `AveragePool`.
        num_features: of a camera's frame.
        crop: shares of height and width that the window takes, by key; the whole image where not said.
        resize: height and width [px] that a network sees; a window's own where None.
        shared: one network serves all cameras, else each has its own.

    Attributes:
        keys: of the images.
        crops: height and width [px] of the windows, by key, where they are less than the image.
        num_features: of all cameras of one frame.

    Raises:
        UserError: an image that is not RGB, a crop of no such image or beyond 0..1, a size below 1.
    """

    def __init__(
        self,
        images: Mapping[str, ArraySpec],
        *,
        network: Callable[[], ResNet],
        pooling: Callable[[int], Any],
        num_features: int = 64,
        crop: Mapping[str, Sequence[float]] | None = None,
        resize: Sequence[int] | None = None,
        shared: bool = False,
    ) -> None:
        super().__init__()
        if num_features < 1 or (resize is not None and not _is_size(resize)):
            raise UserError(f"num_features={num_features}, resize={resize}: needs at least 1, [height,width]")
        for key, array in images.items():
            if array.shape[0] != 3:
                raise UserError(f"image '{key}' has {array.shape[0]} channels; an image encoder needs RGB")
        self.keys = tuple(images)
        self.crops = _window_sizes(images, crop or {})
        self.resize = None if resize is None else tuple(resize)
        self.num_features = num_features * len(self.keys)
        self.encoders = nn.ModuleList(
            VisionEncoder(network(), pooling, num_features) for _ in (self.keys[:1] if shared else self.keys)
        )
        for name, values in (("mean", PIXEL_MEAN), ("std", PIXEL_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, obs: Obs) -> list[Tensor]:
        """Return (B, To F) for each camera of histories (B, To, 3, H, W), oldest first."""
        encoded = []
        for number, key in enumerate(self.keys):
            images = self._seen(obs[key].flatten(0, 1), key)
            features = self.encoders[number % len(self.encoders)](images)  # (B To, F)
            encoded.append(features.reshape(len(obs[key]), -1))
        return encoded

    def load_pretrained(self, path: str | Path) -> None:
        """Start every camera's network from weights with torchvision's names; see `load_resnet`.

        Raises:
            UserError: the file cannot be read or does not fit; nothing has changed then.
        """
        weights = read_weights(path)
        for encoder in self.encoders:
            load_resnet(encoder.network, weights, path)  # type: ignore[arg-type]

    def _seen(self, images: Tensor, key: str) -> Tensor:
        """Return what a network sees of images (N, 3, H, W): windows in scaled pixels."""
        if key in self.crops:
            images = centre_crop(images, *self.crops[key])
        pixels = (images.float() / 255 - self.get_buffer("mean")) / self.get_buffer("std")
        if self.resize is None or pixels.shape[-2:] == self.resize:
            return pixels
        return F.interpolate(pixels, self.resize, mode="bilinear", antialias=True)


class NoImages(nn.Module):
    """Stand in for `ImageEncoder` in a policy that sees no images."""

    keys: tuple[str, ...] = ()
    num_features = 0

    def __init__(self, images: Mapping[str, ArraySpec]) -> None:
        super().__init__()
        self.crops: dict[str, tuple[int, int]] = {}

    def forward(self, obs: Obs) -> list[Tensor]:
        """Return nothing to see."""
        return []

    def load_pretrained(self, path: str | Path) -> None:
        """Refuse weights that nothing would use."""
        raise UserError(f"weights {path}: the policy sees no images")


def _is_size(resize: object) -> bool:
    """Return whether a value is height and width in whole pixels."""
    if not isinstance(resize, Sequence) or len(resize) != 2:
        return False
    return all(isinstance(pixels, int) and pixels >= 1 for pixels in resize)


def _window_sizes(
    images: Mapping[str, ArraySpec], crop: Mapping[str, Sequence[float]]
) -> dict[str, tuple[int, int]]:
    """Return height and width [px] of each window that is less than its image."""
    if not isinstance(crop, Mapping):
        raise UserError(f"crop={crop}: needs shares by image: {{{next(iter(images))}:[0.9,0.9]}}")
    sizes = {}
    for key, shares in crop.items():
        if key not in images:
            raise UserError(f"crop.{key}: the policy sees no such image; valid: {', '.join(images)}")
        pair = isinstance(shares, Sequence) and len(shares) == 2
        if not pair or not all(isinstance(share, int | float) and 0 < share <= 1 for share in shares):
            raise UserError(f"crop.{key}={shares}: needs shares [height,width], above 0, at most 1")
        _, tall, wide = images[key].shape
        size = max(1, round(tall * shares[0])), max(1, round(wide * shares[1]))
        if size != (tall, wide):
            sizes[key] = size
    return sizes
