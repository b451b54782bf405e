"""What noise is added in training and how it is removed: the contract, and DDPM with DDIM sampling."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from robofb.errors import UserError

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(noisy (B, H, A), step (B,)) -> what the network predicts, (B, H, A)."""


class NoiseSchedule(nn.Module, ABC):
    """Way from noise to data. It has no weights and nothing in its state dict.

    Attributes:
        steps: (n,) buffer, steps at which sampling calls the network, in the order of the calls.
    """

    steps: Tensor

    @abstractmethod
    def draw_steps(self, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Return steps (count,) to train at, drawn from `generator`, which is on `device`."""

    @abstractmethod
    def add_noise(self, sample: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Return noisy chunks (B, H, A) of clean samples and unit noise (B, H, A) at steps (B,)."""

    @abstractmethod
    def target(self, sample: Tensor, noise: Tensor) -> Tensor:
        """Return what the network should predict (B, H, A) for a sample and the noise added to it."""

    @abstractmethod
    def denoise(self, noise: Tensor, denoiser: Denoiser) -> Tensor:
        """Return samples (B, H, A) from unit noise (B, H, A), calling `denoiser` once for each of `steps`."""


def squared_cosine_betas(num_steps: int, max_beta: float = 0.999) -> Tensor:
    """Return the noise variances (K,) of Nichol and Dhariwal's cosine schedule.

    arXiv 2102.09672, equation 17: alpha_bar(t) = cos^2((t + 0.008) / 1.008 * pi / 2), t in [0, 1].
    Equal to diffusers' "squaredcos_cap_v2"; a test holds them together.
    """

    def alpha_bar(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    ratios = [alpha_bar((k + 1) / num_steps) / alpha_bar(k / num_steps) for k in range(num_steps)]
    return torch.tensor([min(1.0 - ratio, max_beta) for ratio in ratios], dtype=torch.float32)


class Prediction(NamedTuple):
    """Say what a network predicts, where x_k = signal * x_0 + noise_level * noise.

    Attributes:
        target: (x_0, noise) -> what training compares the prediction with.
        to_sample: (signal, noise_level) -> (a, b) of x_0 = a * x_k + b * prediction.
        to_noise: (signal, noise_level) -> (a, b) of noise = a * x_k + b * prediction.
    """

    target: Callable[[Tensor, Tensor], Tensor]
    to_sample: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    to_noise: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _itself(signal: Tensor, noise_level: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(signal), torch.ones_like(signal)


PREDICTIONS = {
    "sample": Prediction(
        target=lambda sample, noise: sample,
        to_sample=_itself,
        to_noise=lambda signal, noise_level: (1 / noise_level, -signal / noise_level),
    ),
    "epsilon": Prediction(
        target=lambda sample, noise: noise,
        to_sample=lambda signal, noise_level: (1 / signal, -noise_level / signal),
        to_noise=_itself,
    ),
}


def leading_steps(num_train_steps: int, num_inference_steps: int) -> Tensor:
    """Return the steps (n,) that DDIM visits, noisiest first: 75, 50, 25, 0 for 4 of 100."""
    stride = num_train_steps // num_inference_steps
    return torch.arange(num_inference_steps - 1, -1, -1) * stride


class DiffusionSchedule(NoiseSchedule):
    """Add noise in training and remove it by DDIM.

    The tables are buffers outside the state dict, so they follow the module's device and the number
    of inference steps may differ from training's.

    Args:
        prediction: "sample" or "epsilon", what the network predicts.
        num_train_steps: K, noise levels of training.
        num_inference_steps: network calls per sample.
        clip: largest absolute value of the predicted clean sample while denoising.

    Raises:
        UserError: an unknown prediction, or a number of steps out of range.
    """

    def __init__(
        self,
        *,
        prediction: str = "sample",
        num_train_steps: int = 100,
        num_inference_steps: int = 4,
        clip: float = 1.0,
    ) -> None:
        super().__init__()
        if prediction not in PREDICTIONS:
            raise UserError(f"prediction '{prediction}' is unknown; valid: {', '.join(PREDICTIONS)}")
        if not 1 <= num_inference_steps <= num_train_steps:
            raise UserError(
                f"num_inference_steps {num_inference_steps}: "
                f"valid are 1 to num_train_steps ({num_train_steps})"
            )
        self.prediction = PREDICTIONS[prediction]
        self.num_train_steps = num_train_steps
        self.clip = checked_clip(clip)
        alpha_bar = torch.cumprod(1.0 - squared_cosine_betas(num_train_steps), dim=0)  # (K,)
        steps = leading_steps(num_train_steps, num_inference_steps)
        for name, table in (
            ("signal", alpha_bar.sqrt()),
            ("noise_level", (1.0 - alpha_bar).sqrt()),
            ("steps", steps),
        ):
            self.register_buffer(name, table, persistent=False)
        # Plain numbers, fixed here: they cost less per operation than tensors and wait for no device.
        self._coefficients: list[list[float]] = self._ddim_coefficients(alpha_bar, steps).tolist()

    def draw_steps(self, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Return steps (count,) int64, all alike likely."""
        return torch.randint(self.num_train_steps, (count,), generator=generator, device=device)

    def target(self, sample: Tensor, noise: Tensor) -> Tensor:
        """Return the sample or the noise (B, H, A), as chosen."""
        return self.prediction.target(sample, noise)

    def add_noise(self, sample: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Return x_k (B, H, A) of clean samples and noise (B, H, A) at steps (B,) int64."""
        signal = self.get_buffer("signal")[step][:, None, None]
        noise_level = self.get_buffer("noise_level")[step][:, None, None]
        return signal * sample + noise_level * noise

    def denoise(self, noise: Tensor, denoiser: Denoiser) -> Tensor:
        """Return samples (B, H, A) from unit noise (B, H, A) by deterministic DDIM.

        Song et al., arXiv 2010.02502, equation 12 with sigma = 0; the predicted clean sample is
        clipped, the predicted noise is not recomputed from it (diffusers' default). Nothing here
        reads a tensor on the host.
        """
        x = noise
        steps = self.get_buffer("steps")[:, None].expand(-1, len(noise))
        for step, (clean_x, clean_prediction, keep, x_gain, prediction_gain) in zip(
            steps, self._coefficients
        ):
            prediction = denoiser(x, step)
            clean = (clean_prediction * prediction).add_(x, alpha=clean_x).clamp_(-self.clip, self.clip)
            x = (x_gain * x).add_(prediction, alpha=prediction_gain).add_(clean, alpha=keep)
        return x

    def _ddim_coefficients(self, alpha_bar: Tensor, steps: Tensor) -> Tensor:
        """Return (n, 5): x <- keep * clip(a x + b prediction) + gain_x * x + gain_prediction * prediction."""
        stride = self.num_train_steps // len(steps)
        here = alpha_bar[steps].to(torch.float64)
        following = torch.cat([alpha_bar[steps[:-1] - stride].to(torch.float64), here.new_ones(1)])
        signal, noise_level = here.sqrt(), (1 - here).sqrt()
        next_noise_level = (1 - following).sqrt()
        to_noise = torch.stack(self.prediction.to_noise(signal, noise_level)) * next_noise_level
        to_sample = torch.stack(self.prediction.to_sample(signal, noise_level))
        return torch.stack([*to_sample, following.sqrt(), *to_noise], dim=1)


def checked_clip(clip: float) -> float:
    """Return the largest absolute normalised value that is let through, a number above 0.

    Raises:
        UserError: it is something else.
    """
    try:
        if float(clip) > 0:
            return float(clip)
    except (TypeError, ValueError):
        pass
    raise UserError(f"clip={clip}: needs a number above 0, such as 1")


def choose_schedule(schedule: Callable[[], NoiseSchedule] | None, **of_diffusion: Any) -> NoiseSchedule:
    """Return what `schedule` makes, a `DiffusionSchedule` of the other arguments where it is None.

    Raises:
        UserError: both are said, or arguments that `DiffusionSchedule` refuses.
    """
    said = {name: value for name, value in of_diffusion.items() if value is not None}
    if schedule is None:
        return DiffusionSchedule(**said)
    if said:
        raise UserError(
            f"{', '.join(said)}: of DDIM; a policy with a `schedule` has these there or not at all"
        )
    return schedule()
