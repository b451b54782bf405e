"""A point that must reach a goal it sees wrongly, and chunk policies for it: all in plain torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from robofb.normalize import Normalizer
from robofb.policies.image_encoder import NoImages
from robofb.rng import EpisodeRng, derive_seeds
from robofb.types import ArraySpec, Batch, EnvSpec, Obs, Step

POINT_SPEC = EnvSpec(
    task="point",
    obs={"state": ArraySpec((4,), unit="m", names=("x", "y", "shown_x", "shown_y"))},
    action=ArraySpec((2,), unit="m", low=(-1.0, -1.0), high=(1.0, 1.0), names=("target_x", "target_y")),
    control_dt=0.1,
    max_steps=16,
)
HIDDEN_OFFSET = torch.tensor([0.07, -0.05])
UNIT_RANGE = {"min": [-1.0] * 4, "max": [1.0] * 4, "mean": [0.0] * 4, "std": [0.5] * 4}


class PointEnv:
    """Move a point; success within 5 cm of the goal, which lies HIDDEN_OFFSET from where it shows."""

    def __init__(self, num_envs: int) -> None:
        self.spec, self.num_envs, self.device = POINT_SPEC, num_envs, torch.device("cpu")
        self.episode = torch.zeros(num_envs, dtype=torch.int64)
        self.episode_seed = torch.zeros(num_envs, dtype=torch.int64)
        self.elapsed = torch.zeros(num_envs, dtype=torch.int64)
        self.state = torch.zeros(num_envs, 4)  # position, shown goal
        self.seed, self.next_episode, self.closed = 0, 0, False

    def reset(self, seed: int) -> Obs:
        self.seed, self.next_episode = seed, 0
        self._start(torch.ones(self.num_envs, dtype=torch.bool))
        return self._obs()

    def step(self, action: Tensor) -> Step:
        position, shown = self.state[:, :2], self.state[:, 2:]
        position = position + (action - position).clamp(-0.2, 0.2)
        self.state = torch.cat([position, shown], dim=1)
        self.elapsed += 1
        success = (position - shown - HIDDEN_OFFSET).norm(dim=1) < 0.05
        truncated = (self.elapsed >= self.spec.max_steps) & ~success
        info = {
            "success": success,
            "stage": success.long(),
            "episode": self.episode.clone(),
            "length": self.elapsed.clone(),
        }
        final_obs = self._obs()
        self._start(success | truncated)
        return Step(self._obs(), success.float(), success, truncated, final_obs, info)

    def _start(self, mask: Tensor) -> None:
        count = int(mask.sum())
        self.episode[mask] = self.next_episode + torch.arange(count)
        self.next_episode += count
        self.episode_seed[mask] = derive_seeds(self.seed, self.episode[mask])
        self.elapsed[mask] = 0
        self.state[mask] = EpisodeRng(derive_seeds(self.episode_seed[mask], 1)).uniform(4) - 0.5

    def _obs(self) -> Obs:
        return {"state": self.state.clone()}

    def close(self) -> None:
        self.closed = True


class PointTask:
    """Brings a teacher that knows where the goal really is."""

    def teacher(self) -> PointTask:
        return self

    def answer(self, obs: Obs) -> Tensor:
        return obs["state"][:, 2:] + HIDDEN_OFFSET


class ResumablePointEnv(PointEnv):
    """The same, able to save and continue its episodes."""

    FIELDS = ("episode", "episode_seed", "elapsed", "state")

    def state_dict(self) -> dict:
        tensors = {name: getattr(self, name).clone() for name in self.FIELDS}
        return {**tensors, "seed": self.seed, "next_episode": self.next_episode}

    def load_state_dict(self, state: dict) -> None:
        for name in self.FIELDS:
            setattr(self, name, state[name].clone())
        self.seed, self.next_episode = state["seed"], state["next_episode"]


class FakePolicy(nn.Module):
    """What every fake chunk policy has: the point's spec and a normaliser with a range of +-1 m."""

    def __init__(self, obs_history: int = 1, horizon: int = 8, execute: int = 4) -> None:
        super().__init__()
        self.spec, self.obs_history, self.horizon, self.execute = POINT_SPEC, obs_history, horizon, execute
        action_range = {name: values[:2] for name, values in UNIT_RANGE.items()}
        self.normalizer = Normalizer({"state": UNIT_RANGE, "action": action_range}, clamp=3.0)
        self.image_encoder = NoImages({})
        self.calls: list[int] = []  # batch size of each call

    def loss(self, batch: Batch, rng: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        raise NotImplementedError


class BiasedPolicy(FakePolicy):
    """Head for where the goal shows, a little wrong by another amount in every chunk."""

    def act(self, obs: Obs, rng: EpisodeRng) -> Tensor:
        target = obs["state"][:, -1, 2:] + 0.03 * rng.normal(2)
        return target[:, None].expand(-1, self.horizon, -1).clone()


class NetPolicy(FakePolicy):
    """A random network of history and noise: every bit of its chunk depends on every input."""

    def __init__(self, obs_history: int = 2, horizon: int = 8, execute: int = 4) -> None:
        super().__init__(obs_history=obs_history, horizon=horizon, execute=execute)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.net = nn.Sequential(
                nn.Linear(4 * obs_history + 3, 54),
                nn.SiLU(),
                nn.Linear(54, 64),
                nn.Tanh(),
                nn.Linear(64, 2 * horizon),
            )

    def act(self, obs: Obs, rng: EpisodeRng) -> Tensor:
        self.calls.append(len(rng))
        x = torch.cat([obs["state"].flatten(1), rng.normal(3)], dim=1)
        return self.net(x).reshape(-1, self.horizon, 2)


class CountingPolicy(FakePolicy):
    """Chunk row h is (newest observed x + h, oldest observed x): tells which history was planned from."""

    def act(self, obs: Obs, rng: EpisodeRng) -> Tensor:
        self.calls.append(len(rng))
        newest, oldest = obs["state"][:, -1, 0], obs["state"][:, 0, 0]
        rows = newest[:, None] + torch.arange(self.horizon)
        return torch.stack([rows, oldest[:, None].expand_as(rows)], dim=2)


class NoisyPolicy(FakePolicy):
    """Head for where the goal shows, shifted by 0.1 m times the first row of its noise."""

    def encode(self, obs: Obs) -> Tensor:
        return self.normalizer(obs["state"], "state").flatten(1)

    def act_from_noise(self, cond: Tensor, noise: Tensor) -> Tensor:
        shown = self.normalizer.inverse(cond[:, -4:], "state")[:, 2:]
        return (shown + 0.1 * noise[:, 0])[:, None].expand(-1, self.horizon, -1).clone()

    def act(self, obs: Obs, rng: EpisodeRng) -> Tensor:
        return self.act_from_noise(self.encode(obs), rng.normal(self.horizon, 2))


class NoisyPolicyOfSpec(NoisyPolicy):
    """The same as a checkpoint rebuilds it."""

    def __init__(self, spec: EnvSpec) -> None:
        super().__init__()
        self.spec = spec


class AimingPolicy(FakePolicy):
    """Predict chunks by one linear map of the state, at first: head for where the goal shows."""

    clip = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 2 * self.horizon), nn.Unflatten(1, (self.horizon, 2)))
        with torch.no_grad():
            self.network[0].weight.copy_(torch.eye(4)[2:].repeat(self.horizon, 1))
            self.network[0].bias.zero_()

    def encode(self, obs: Obs) -> Tensor:
        return self.normalizer(obs["state"], "state").flatten(1)

    def set_stats(self, stats: Any) -> None:
        """Keep the range of +-1 m."""

    def loss(self, batch: Batch, rng: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        error = (self.predict(batch.obs) - self.normalizer(batch.action, "action")) ** 2
        loss = error.mean()
        return loss, {"loss": loss.detach()}

    def predict(self, obs: Obs) -> Tensor:
        return self.network(self.encode(obs))

    @torch.no_grad()
    def act(self, obs: Obs, rng: EpisodeRng) -> Tensor:
        return self.normalizer.inverse(self.predict(obs).clamp(-self.clip, self.clip), "action")


class KnowingPolicy(AimingPolicy):
    """The same, but it knows where the goal lies: an expert."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.network[0].bias.copy_(HIDDEN_OFFSET.repeat(self.horizon))


class AimingPolicyOfSpec(AimingPolicy):
    """The same as a checkpoint rebuilds it."""

    def __init__(self, spec: EnvSpec) -> None:
        super().__init__()
        self.spec = spec


class BiasedPolicyOfSpec(BiasedPolicy):
    """The biased policy as a checkpoint rebuilds it: from a spec."""

    def __init__(self, spec: EnvSpec) -> None:
        super().__init__()
        self.spec = spec
