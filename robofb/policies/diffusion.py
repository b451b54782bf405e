"""Diffusion policy: chunks of actions by denoising (Chi et al., arXiv 2303.04137)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robofb.compiler import check_compiler
from robofb.nets.denoiser import Context, Denoiser
from robofb.policies.chunk_policy import ChunkPolicy
from robofb.policies.schedule import NoiseSchedule, choose_schedule
from robofb.rng import EpisodeRng
from robofb.types import Batch, EnvSpec, Obs

SMALL_BATCH = 64  # rows up to which the contexts of all inference steps are computed in one call


class DiffusionPolicy(ChunkPolicy):
    """Make chunks of actions from noise; implements `interfaces.Policy`.

    Give it statistics by `set_stats`, or load a checkpoint, before the first use.

    Args:
        spec: what the environment shows and accepts.
        denoiser: builds the network from (action_dim, horizon, cond_dim).
        schedule: builds the way from noise to chunk, such as a `FlowSchedule`; None takes DDIM with the
            next four, which have no place beside a schedule.
        prediction: what the network predicts, "sample" (the clean chunk; the default; learns in far fewer
            steps) or "epsilon" (the noise; the paper's).
        num_train_steps: noise levels of training, 100 by default.
        num_inference_steps: network calls per decision, 4 by default.
        clip: largest absolute normalised action; 1, the default, keeps chunks within the range of the data.
        seen: what it sees and how long its chunks are: see `ChunkPolicy`.

    Raises:
        UserError: an argument out of range, or an observation that is missing or cannot be seen.
    """

    def __init__(
        self,
        spec: EnvSpec,
        denoiser: Callable[..., Denoiser],
        *,
        schedule: Callable[[], NoiseSchedule] | None = None,
        prediction: str | None = None,
        num_train_steps: int | None = None,
        num_inference_steps: int | None = None,
        clip: float | None = None,
        **seen: Any,
    ) -> None:
        super().__init__(spec, **seen)
        self.schedule = choose_schedule(
            schedule,
            prediction=prediction,
            num_train_steps=num_train_steps,
            num_inference_steps=num_inference_steps,
            clip=clip,
        )
        self._sample = DiffusionPolicy._denoised  # unbound, so that a copy samples by its own weights
        self._kept: tuple[tuple[tuple[int, int], ...], Tensor] | None = None  # see `_step_features`
        self.denoiser = denoiser(action_dim=self.action_dim, horizon=self.horizon, cond_dim=self.cond_dim)

    @property
    def network(self) -> Denoiser:
        """The denoiser."""
        return self.denoiser

    def act(self, obs: Obs, rng: EpisodeRng) -> Tensor:
        """Return chunks (B, H, A) in environment units for histories (B, To, ...)."""
        with torch.inference_mode():
            cond = self.encode(obs)
        return self.act_from_noise(cond, rng.normal(self.horizon, self.action_dim))

    def act_from_noise(self, cond: Tensor, noise: Tensor) -> Tensor:
        """Return chunks (B, H, A) in environment units, denoised from `noise` (B, H, A) for `cond` (B, C)."""
        with torch.inference_mode():  # less work per operation than no_grad, which counts at batch 1
            chunk = self._sample(self, cond, noise.to(cond), self._step_features())
            chunk = self.normalizer.inverse(chunk, "action")
        return chunk.clone()  # an ordinary tensor, of which autograd may keep a reference

    def compile_sampling(self) -> None:
        """Sample by a compiled program from now on (torch.compile); on a GPU it replays a CUDA graph.

        It is compiled at the first use, for a minute or less. The numbers differ by rounding. Weights may
        still change, in place. On a GPU each number of rows has a program of its own: call it with few.

        Raises:
            UserError: there is no C++ compiler, which a CPU's program needs.
        """
        device = next(self.parameters()).device
        check_compiler(device)
        on_cuda: dict[str, Any] = {"mode": "reduce-overhead", "dynamic": False}
        options = on_cuda if device.type == "cuda" else {"dynamic": True}
        self._sample = torch.compile(DiffusionPolicy._denoised, fullgraph=True, **options)

    def loss(self, batch: Batch, rng: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted mean squared error of the prediction at random noise levels.

        Rows past an episode's end count as well: see `weigh`. The network sees all rows of a chunk, so that
        none may be left untrained.

        Args:
            batch: in environment units.
            rng: draws steps and noise; on any device.
        """
        sample = self.normalizer(batch.action, "action")
        source = sample.device if rng is None else rng.device
        noise = torch.randn(sample.shape, generator=rng, device=source).to(sample.device)
        step = self.schedule.draw_steps(len(sample), rng, source).to(sample.device)
        noisy = self.schedule.add_noise(sample, noise, step)
        prediction = self.denoiser(noisy, step, self.encode(batch.obs)).to(torch.float32)
        target = self.schedule.target(sample, noise)
        return self.weigh(F.mse_loss(prediction, target, reduction="none"), batch)

    def _denoised(self, cond: Tensor, noise: Tensor, step_features: Tensor) -> Tensor:
        """Return normalised chunks (B, H, A): what `torch.compile` sees of sampling."""
        contexts = self._contexts(cond, step_features)
        return self.schedule.denoise(noise, lambda noisy, step: self.denoiser.denoise(noisy, next(contexts)))

    def _contexts(self, cond: Tensor, step_features: Tensor) -> Iterator[Context]:
        """Yield the network's context of each inference step for conditions (B, C)."""
        seen = self.denoiser.cond(cond)
        for together in step_features.split(len(step_features) if len(cond) <= SMALL_BATCH else 1):
            yield from zip(*self.denoiser.context(together, seen))

    def _step_features(self) -> Tensor:
        """Return the network's features of the inference steps (S, 1, F), kept until its weights change."""
        weights = tuple((weight.data_ptr(), weight._version) for weight in self.denoiser.step.parameters())
        if self._kept is None or self._kept[0] != weights:
            self._kept = weights, self.denoiser.step(self.schedule.steps[:, None])
        return self._kept[1]
