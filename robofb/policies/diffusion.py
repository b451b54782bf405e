"""Diffusion policy: chunks of actions by denoising (Chi et al., arXiv 2303.04137)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.nets.denoiser import Context, Denoiser
from robofb.normalize import Normalizer, Stats, low_dim_specs
from robofb.policies.schedule import DiffusionSchedule
from robofb.rng import EpisodeRng
from robofb.types import Batch, EnvSpec, Obs

SMALL_BATCH = 64  # rows up to which the contexts of all inference steps are computed in one call


class DiffusionPolicy(nn.Module):
    """Predict chunks of H actions from To observations; implements `interfaces.Policy`.

    Give it statistics by `set_stats`, or load a checkpoint, before the first use.

    Args:
        spec: what the environment shows and accepts.
        denoiser: builds the network from (action_dim, horizon, cond_dim).
        obs_keys: observations it sees, flat ones such as "state".
        obs_history: To, observations per decision.
        horizon: H, actions per chunk.
        execute: Ta, actions executed before the next decision.
        prediction: what the network predicts, "sample" (the clean chunk; learns in far fewer steps)
            or "epsilon" (the noise; the paper's).
        num_train_steps: noise levels of training.
        num_inference_steps: network calls per decision.
        clip: largest absolute normalised action; 1 keeps chunks within the range of the data.
        state_clamp: largest absolute normalised observation.

    Raises:
        UserError: an argument out of range, or an observation that is missing or an image.
    """

    def __init__(
        self,
        spec: EnvSpec,
        denoiser: Callable[..., Denoiser],
        *,
        obs_keys: Sequence[str] = ("state",),
        obs_history: int = 1,
        horizon: int = 16,
        execute: int = 8,
        prediction: str = "sample",
        num_train_steps: int = 100,
        num_inference_steps: int = 4,
        clip: float = 1.0,
        state_clamp: float | None = 3.0,
    ) -> None:
        super().__init__()
        if not 1 <= execute <= horizon or obs_history < 1:
            raise UserError(
                f"obs_history={obs_history}, horizon={horizon}, execute={execute}: "
                "needs obs_history >= 1 and 1 <= execute <= horizon"
            )
        self.obs_keys = _check_keys(spec, obs_keys)
        self.spec = spec = spec.only(self.obs_keys)
        self.obs_history, self.horizon, self.execute = obs_history, horizon, execute
        self.action_dim = spec.action.shape[0]
        self.state_clamp = state_clamp
        self.normalizer = Normalizer.empty(spec, clamp=state_clamp)
        self.schedule = DiffusionSchedule(
            prediction=prediction,
            num_train_steps=num_train_steps,
            num_inference_steps=num_inference_steps,
            clip=clip,
        )
        cond_dim = obs_history * sum(spec.obs[key].shape[0] for key in self.obs_keys)
        self._kept: tuple[tuple[tuple[int, int], ...], Tensor] | None = None  # see `_step_features`
        self.denoiser = denoiser(action_dim=self.action_dim, horizon=horizon, cond_dim=cond_dim)

    def set_stats(self, stats: Stats) -> None:
        """Normalise by the statistics of a dataset from now on.

        Raises:
            UserError: a key without statistics.
        """
        wanted = low_dim_specs(self.spec)
        if missing := [key for key in wanted if key not in stats]:
            raise UserError(f"no statistics of {', '.join(missing)}; there are: {', '.join(stats) or 'none'}")
        device = next(self.parameters()).device
        self.normalizer = Normalizer({key: stats[key] for key in wanted}, clamp=self.state_clamp).to(device)

    def act(self, obs: Obs, rng: EpisodeRng) -> Tensor:
        """Return chunks (B, H, A) in environment units for histories (B, To, ...)."""
        with torch.inference_mode():
            cond = self.encode(obs)
        return self.act_from_noise(cond, rng.normal(self.horizon, self.action_dim))

    def act_from_noise(self, cond: Tensor, noise: Tensor) -> Tensor:
        """Return chunks (B, H, A) in environment units, denoised from `noise` (B, H, A) for `cond` (B, C)."""
        with torch.inference_mode():  # less work per operation than no_grad, which counts at batch 1
            contexts = self._contexts(cond)
            chunk = self.schedule.denoise(
                noise.to(cond), lambda noisy, step: self.denoiser.denoise(noisy, next(contexts))
            )
            chunk = self.normalizer.inverse(chunk, "action")
        return chunk.clone()  # an ordinary tensor, of which autograd may keep a reference

    def loss(self, batch: Batch, rng: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted mean squared error of the prediction at random noise levels.

        Rows past an episode's end count as well: they hold the last pose, which is what to do there,
        and the network sees all rows of a chunk, so that none may be left untrained.

        Args:
            batch: in environment units.
            rng: draws steps and noise; on any device.
        """
        sample = self.normalizer(batch.action, "action")
        source = sample.device if rng is None else rng.device
        noise = torch.randn(sample.shape, generator=rng, device=source).to(sample.device)
        step = torch.randint(
            self.schedule.num_train_steps, sample.shape[:1], generator=rng, device=source
        ).to(sample.device)
        noisy = self.schedule.add_noise(sample, noise, step)
        prediction = self.denoiser(noisy, step, self.encode(batch.obs)).to(torch.float32)
        target = self.schedule.prediction.target(sample, noise)
        error = F.mse_loss(prediction, target, reduction="none").mean(dim=(1, 2))  # (B,)
        loss = (error * batch.weight).sum() / batch.weight.sum()
        return loss, {"loss": loss.detach()}

    def encode(self, obs: Obs) -> Tensor:
        """Return the conditioning (B, C) of histories (B, To, ...), oldest first, key after key."""
        return torch.cat([self.normalizer(obs[key], key).flatten(1) for key in self.obs_keys], dim=-1)

    def _contexts(self, cond: Tensor) -> Iterator[Context]:
        """Yield the network's context of each inference step for conditions (B, C)."""
        features = self._step_features()
        for together in features.split(len(features) if len(cond) <= SMALL_BATCH else 1):
            yield from zip(*self.denoiser.context(together, cond))

    def _step_features(self) -> Tensor:
        """Return the network's features of the inference steps (S, 1, F), kept until its weights change."""
        weights = tuple((weight.data_ptr(), weight._version) for weight in self.denoiser.step.parameters())
        if self._kept is None or self._kept[0] != weights:
            self._kept = weights, self.denoiser.step(self.schedule.get_buffer("steps")[:, None])
        return self._kept[1]


def _check_keys(spec: EnvSpec, obs_keys: Sequence[str]) -> tuple[str, ...]:
    flat = [key for key, array in low_dim_specs(spec).items() if key != "action" and len(array.shape) == 1]
    for key in obs_keys:
        if key not in flat:
            kind = "is not a flat vector" if key in spec.obs else "is not observed"
            raise UserError(
                f"obs_keys: '{key}' {kind} in task {spec.task}; valid: {', '.join(flat) or 'none'}"
            )
    if not obs_keys:
        raise UserError(f"obs_keys is empty; valid: {', '.join(flat)}")
    return tuple(obs_keys)
