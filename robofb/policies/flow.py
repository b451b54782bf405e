"""Flow matching: straight ways from noise to data, learnt as a velocity (Lipman et al., arXiv 2210.02747)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.policies.schedule import Denoiser, NoiseSchedule, checked_clip

STEPS_PER_UNIT_TIME = 100.0
"""Networks embed steps on the scale of diffusion's; times of a flow lie in [0, 1]."""


class TimeSampling(Protocol):
    """Where on the way from noise (0) to data (1) to train."""

    def __call__(self, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Return times (count,) float32 in [0, 1], drawn from `generator`, which is on `device`."""
        ...


class UniformTimes:
    """Train at all times alike."""

    def __call__(self, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Return times (count,) float32 in [0, 1)."""
        return torch.rand(count, generator=generator, device=device)


class BetaTimes:
    """Train more near the noise: time = latest * (1 - b) with b of the distribution Beta(alpha, 1).

    Black et al. (pi0), arXiv 2410.24164, appendix B, with their values. Beta(alpha, 1) has the distribution
    function b^alpha, so b is a power of a uniform number.

    Args:
        alpha: 1 is uniform, more is nearer to the noise.
        latest: no time beyond this is trained.

    Raises:
        UserError: an alpha that is not positive, or a time outside (0, 1].
    """

    def __init__(self, alpha: float = 1.5, latest: float = 0.999) -> None:
        if not (alpha > 0 and 0 < latest <= 1):
            raise UserError(f"alpha={alpha}, latest={latest}: needs alpha > 0 and 0 < latest <= 1")
        self.alpha, self.latest = alpha, latest

    def __call__(self, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Return times (count,) float32 in [0, latest]."""
        uniform = torch.rand(count, generator=generator, device=device)
        return self.latest * (1 - uniform ** (1 / self.alpha))


class LogitNormalTimes:
    """Train more in the middle: time = 1 / (1 + exp(-z)), z normal.

    Esser et al., arXiv 2403.03206, section 3.1.

    Args:
        mean: of z; above 0 is nearer to the data.
        std: of z.

    Raises:
        UserError: a deviation that is not positive.
    """

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        if not std > 0:
            raise UserError(f"std={std}: needs a positive deviation")
        self.mean, self.std = mean, std

    def __call__(self, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Return times (count,) float32 in [0, 1]."""
        normal = torch.randn(count, generator=generator, device=device)
        return torch.sigmoid(self.mean + self.std * normal)


class FlowPrediction(NamedTuple):
    """Say what a network predicts.

    Attributes:
        target: (sample, noise) -> what training compares the prediction with.
        to_sample: (x_t, prediction, 1 - t) -> the sample that the prediction leads to.
    """

    target: Callable[[Tensor, Tensor], Tensor]
    to_sample: Callable[[Tensor, Tensor, float], Tensor]


PREDICTIONS = {
    "velocity": FlowPrediction(
        target=lambda sample, noise: sample - noise,
        to_sample=lambda x, velocity, time_left: x.add(velocity, alpha=time_left),
    ),
    "sample": FlowPrediction(
        target=lambda sample, noise: sample, to_sample=lambda x, sample, time_left: sample
    ),
}


class FlowSchedule(NoiseSchedule):
    """Move on a straight line from noise to data: x_t = (1 - t) * noise + t * sample.

    Rectified flow, Liu et al., arXiv 2209.03003, equation 1; conditional flow matching with its
    optimal-transport path, Lipman et al., equation 23. Sampling integrates dx/dt = velocity from 0 to 1. The
    sample that a velocity leads to, x + (1 - t) * velocity, is clipped at every call.

    Args:
        prediction: what the network predicts, "velocity" (sample - noise) or "sample", from which follows
            the velocity (sample - x_t) / (1 - t).
        num_inference_steps: network calls per sample, at equally spaced times.
        midpoint: integrate by the midpoint rule, of second order, with two calls a step; else by Euler's.
        clip: largest absolute value of the predicted sample.
        times: where to train; at all times alike where None.

    Raises:
        UserError: an unknown prediction, fewer than one call, or an odd number for the midpoint rule.
    """

    def __init__(
        self,
        *,
        prediction: str = "velocity",
        num_inference_steps: int = 4,
        midpoint: bool = False,
        clip: float = 1.0,
        times: Callable[[], TimeSampling] | None = None,
    ) -> None:
        super().__init__()
        if prediction not in PREDICTIONS:
            raise UserError(f"prediction '{prediction}' is unknown; valid: {', '.join(PREDICTIONS)}")
        calls = 2 if midpoint else 1  # of a step
        if num_inference_steps < 1 or num_inference_steps % calls:
            raise UserError(
                f"num_inference_steps={num_inference_steps}: needs at least 1, an even number with midpoint"
            )
        self.prediction = PREDICTIONS[prediction]
        self.midpoint, self.clip = midpoint, checked_clip(clip)
        self.times = (times or UniformTimes)()
        self._times = [call / num_inference_steps for call in range(num_inference_steps)]
        self._dt = calls / num_inference_steps
        self.register_buffer("steps", STEPS_PER_UNIT_TIME * torch.tensor(self._times), persistent=False)

    def draw_steps(self, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Return steps (count,) float32, times of the chosen distribution on the network's scale."""
        return STEPS_PER_UNIT_TIME * self.times(count, generator, device)

    def add_noise(self, sample: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Return the points (B, H, A) of the lines from noise to samples at steps (B,)."""
        return torch.lerp(noise, sample, (step / STEPS_PER_UNIT_TIME)[:, None, None])

    def target(self, sample: Tensor, noise: Tensor) -> Tensor:
        """Return the velocity or the sample (B, H, A), as chosen."""
        return self.prediction.target(sample, noise)

    def denoise(self, noise: Tensor, denoiser: Denoiser) -> Tensor:
        """Return samples (B, H, A) from unit noise (B, H, A). Nothing here reads a tensor on the host."""
        calls = zip(self.get_buffer("steps")[:, None].expand(-1, len(noise)), self._times)
        x = noise
        for step, time in calls:
            ahead = self._predict(x, step, time, denoiser)
            if self.midpoint:  # the velocity of the middle, from the step's start
                half = torch.lerp(x, ahead, 0.5 * self._dt / (1 - time))
                step, time = next(calls)
                velocity = (self._predict(half, step, time, denoiser) - half) / (1 - time)
                x = x.add(velocity, alpha=self._dt)
            else:
                x = torch.lerp(x, ahead, self._dt / (1 - time))
        return x.clamp(-self.clip, self.clip)

    def _predict(self, x: Tensor, step: Tensor, time: float, denoiser: Denoiser) -> Tensor:
        """Return the sample (B, H, A) that lies ahead of x, clipped."""
        return self.prediction.to_sample(x, denoiser(x, step), 1 - time).clamp(-self.clip, self.clip)
