"""Random changes of the images of training batches, so that a policy does not learn a picture by heart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robofb.augment.images import (
    LEAST_SIGMA_PX,
    blur,
    drop_cameras,
    jitter_by,
    jitter_factors,
    random_crop,
)
from robofb.errors import UserError, check_at_least
from robofb.types import Batch


@dataclass(frozen=True)
class ImageAugment:
    """How far images are changed.

    Attributes:
        crop: share of the room around the policy's middle window that its windows move into; 0 keeps them
            in the middle.
        colour_jitter: most change of brightness, contrast and saturation, as a share.
        blur: largest deviation of a Gaussian blur [px]; 0 for none.
        camera_dropout: share of the samples in which a camera is black, each camera by itself.
    """

    crop: float = 1.0
    colour_jitter: float = 0.0
    blur: float = 0.0
    camera_dropout: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(self, 0, "crop", "colour_jitter", "blur", "camera_dropout")
        for name in ("crop", "colour_jitter", "camera_dropout"):
            if getattr(self, name) > 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at most 1")
        if 0 < self.blur < LEAST_SIGMA_PX:
            raise UserError(f"blur={self.blur}: must be 0 or at least {LEAST_SIGMA_PX}")


class ImageAugmentTransform:
    """Cut, tint, blur and black out the images of each sample, each camera by draws of its own.

    A sample's history changes as one: its frames keep their windows and colours.

    Args:
        augment: how far.
        keys: of the images.
        crops: height and width [px] of the windows that the policy sees, by key.
    """

    def __init__(
        self, augment: ImageAugment, keys: Sequence[str], crops: Mapping[str, tuple[int, int]]
    ) -> None:
        self.augment, self.keys, self.crops = augment, tuple(keys), dict(crops)

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the batch with images (B, To, 3, h, w) of the windows' sizes; nothing given is changed.

        Draws come from `generator` alone, which must live on the images' device.
        """
        changed = {key: self._change(batch.obs[key], key, generator) for key in self.keys}
        if self.augment.camera_dropout:
            changed = drop_cameras(changed, self.augment.camera_dropout, generator, self.keys)
        return batch._replace(obs={**batch.obs, **changed})

    def _change(self, images: Tensor, key: str, generator: torch.Generator) -> Tensor:
        """Return images (B, To, 3, H, W) cut, blurred and tinted."""
        samples, history = images.shape[:2]
        folded = images.flatten(1, 2)  # (B, To 3, H, W): one window and one blur for a history
        if key in self.crops:
            folded = random_crop(folded, *self.crops[key], generator, reach=self.augment.crop)
        if self.augment.blur:
            folded = blur(folded, self.augment.blur, generator)
        images = folded.unflatten(1, (history, -1))
        if not self.augment.colour_jitter:
            return images
        factors = jitter_factors(samples, self.augment.colour_jitter, generator)
        frames = jitter_by(images.flatten(0, 1), factors.repeat_interleave(history, dim=0))
        return frames.unflatten(0, (samples, history))
