"""The conditional 1D UNet of diffusion policy: convolutions over the time axis of an action chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.nets.denoiser import Context, Denoiser
from robofb.nets.embedding import StepEmbedding


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, (1, kernel), stride=(1, stride), padding=(0, kernel // 2))


class ConvBlock(nn.Sequential):
    """Convolve over time, normalise in groups of channels, apply Mish."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int) -> None:
        super().__init__(_conv(inputs, outputs, kernel), nn.GroupNorm(groups, outputs), nn.Mish())


class ResidualBlock(nn.Module):
    """Two convolution blocks with FiLM between them: h -> scale(cond) * h + shift(cond), and a skip.

    FiLM: Perez et al., arXiv 1709.07871, equation 1.
    """

    def __init__(self, inputs: int, outputs: int, cond_dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.first = ConvBlock(inputs, outputs, kernel, groups)
        self.film = nn.Linear(cond_dim, 2 * outputs)
        self.second = ConvBlock(outputs, outputs, kernel, groups)
        self.skip = _conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """Return (B, outputs, 1, T) of x (B, inputs, 1, T) and scale and shift (B, 2 outputs)."""
        scale, shift = modulation[..., None, None].chunk(2, dim=1)
        hidden = torch.addcmul(shift, scale, self.first(x))
        return self.second(hidden) + self.skip(x)


class Level(nn.Module):
    """Two residual blocks at one time resolution, then a change of resolution."""

    def __init__(
        self, inputs: int, outputs: int, cond_dim: int, kernel: int, groups: int, resample: nn.Module
    ) -> None:
        super().__init__()
        self.first = ResidualBlock(inputs, outputs, cond_dim, kernel, groups)
        self.second = ResidualBlock(outputs, outputs, cond_dim, kernel, groups)
        self.resample = resample

    def forward(self, x: Tensor, modulations: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the features before and after the change of resolution; takes two modulations."""
        features = self.second(self.first(x, next(modulations)), next(modulations))
        return features, self.resample(features)


class UNet1D(Denoiser):
    """Denoise chunks by a UNet over time, conditioned on the observation and the diffusion step by FiLM.

    The network of Chi et al., arXiv 2303.04137, with the sizes of Ankile et al., arXiv 2407.16677: for
    10 actions, horizon 32 and 58 conditioning values it has 66,055,690 parameters, their 66.06 M.
    The resolution halves after every level but the deepest: 32, 16, 8 time steps of 256, 512, 1024
    channels.

    A chunk runs through it as an image of height 1 whose channels are innermost in memory: a chunk
    (B, H, A) already lies so, and convolutions are fastest in that layout.

    Args:
        action_dim: A.
        horizon: H, divisible by 2 for each halving.
        cond_dim: C.
        channels: of each level.
        kernel: odd width of the convolutions over time.
        groups: of the group normalisation.
        step_dim: size of the embedding of the diffusion step.

    Raises:
        UserError: a horizon that cannot be halved.
    """

    def __init__(
        self,
        action_dim: int,
        horizon: int,
        cond_dim: int,
        *,
        channels: Sequence[int] = (256, 512, 1024),
        kernel: int = 5,
        groups: int = 8,
        step_dim: int = 256,
    ) -> None:
        super().__init__()
        divisor = 2 ** (len(channels) - 1)
        if horizon % divisor:
            raise UserError(
                f"horizon {horizon}: a UNet of {len(channels)} levels needs a multiple of {divisor}"
            )
        self.step = nn.Sequential(
            StepEmbedding(step_dim),
            nn.Linear(step_dim, 4 * step_dim),
            nn.Mish(),
            nn.Linear(4 * step_dim, step_dim),
        )
        self.cond = nn.Identity()
        sizes = {"cond_dim": step_dim + cond_dim, "kernel": kernel, "groups": groups}
        halvings = [_conv(here, here, 3, stride=2) for here in channels[:-1]]
        self.down = nn.ModuleList(
            Level(above, here, **sizes, resample=resample)
            for above, here, resample in zip(
                [action_dim, *channels[:-1]], channels, [*halvings, nn.Identity()], strict=True
            )
        )
        self.middle = nn.ModuleList(ResidualBlock(channels[-1], channels[-1], **sizes) for _ in range(2))
        self.up = nn.ModuleList(
            Level(2 * below, here, **sizes, resample=nn.ConvTranspose2d(here, here, (1, 4), (1, 2), (0, 1)))
            for below, here in pairwise(channels[::-1])
        )
        self.head = nn.Sequential(
            ConvBlock(channels[0], channels[0], kernel, groups), _conv(channels[0], action_dim, 1)
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def films(self) -> list[nn.Linear]:
        """The map to scale and shift of each residual block, in the order of `denoise`."""
        return [block.film for block in self.modules() if isinstance(block, ResidualBlock)]

    def context(self, step_features: Tensor, cond_features: Tensor) -> Context:
        """Return scale and shift (..., 2 channels) of one residual block after the other."""
        pairs = torch.broadcast_shapes(step_features.shape[:-1], cond_features.shape[:-1])
        both = [features.expand(*pairs, -1) for features in (step_features, cond_features)]
        active = F.mish(torch.cat(both, dim=-1))
        return tuple(film(active) for film in self.films)

    def denoise(self, noisy: Tensor, context: Context) -> Tensor:
        """Return the prediction (B, H, A) for noisy chunks (B, H, A) and their context (B, ...)."""
        modulations = iter(context)
        x = noisy.transpose(1, 2).unsqueeze(2)  # (B, A, 1, H), channels innermost
        skips = []
        for level in self.down:
            features, x = level(x, modulations)
            skips.append(features)
        for block in self.middle:
            x = block(x, next(modulations))
        for level in self.up:
            _, x = level(torch.cat([x, skips.pop()], dim=1), modulations)
        return self.head(x).squeeze(2).transpose(1, 2)
