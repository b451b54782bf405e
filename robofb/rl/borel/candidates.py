"""Which of some tasks a belief is of, as the decoders read it: what a picture of a belief shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from robofb.meta_interfaces import MetaTask
from robofb.rl.borel.belief import Belief, BeliefEncoder
from robofb.rl.borel.decoders import Said
from robofb.rl.histories import Histories, Trials, below

_LOOKED_AT = 4096  # steps that probes are chosen among
_DRAWS = 16  # of latents from a belief


@dataclass(frozen=True)
class Candidates:
    """C tasks, and S steps as each of them would pay and move: probes.

    Attributes:
        params: (C, P).
        obs, next_obs: (C, S, D).
        action: (C, S, A).
        reward: (C, S).
        valid: (C, S) bool.
        shared: () bool: all tasks are asked about the same steps.
    """

    params: Tensor
    obs: Tensor
    action: Tensor
    next_obs: Tensor
    reward: Tensor
    valid: Tensor
    shared: Tensor

    @classmethod
    def of(cls, histories: Histories, family: MetaTask, count: int, generator: torch.Generator) -> Candidates:
        """Return the tasks of some logs.

        Where tasks move alike all get the same probes, ends of which lie as far from each other as can be,
        paid as each task would; else each gets the last episodes of its own agent.

        Args:
            histories: N logs.
            family: of the tasks.
            count: S, or as many different ends as there are; at most, where each task has its own.
            generator: draws steps.
        """
        if not family.moves_alike:
            return cls._of_own(histories, count)
        agent = torch.randint(histories.num_agents, (_LOOKED_AT,), generator=generator)
        episode = below(histories.num_episodes[agent], generator)
        step = below(histories.length[agent, episode], generator)
        apart = _far_apart(histories.obs[agent, episode, step + 1], count)
        where, params = (agent[apart], episode[apart], step[apart]), histories.params
        obs, action = histories.obs[where], histories.action[where]
        next_obs = histories.obs[where[0], where[1], where[2] + 1]
        obs, action, next_obs = (part.expand(len(params), -1, -1) for part in (obs, action, next_obs))
        reward = family.relabel(params[:, None], obs, action, next_obs)
        valid = torch.ones_like(reward, dtype=torch.bool)
        return cls(params, obs, action, next_obs, reward, valid, torch.tensor(True))

    @classmethod
    def _of_own(cls, histories: Histories, count: int) -> Candidates:
        """Return each agent's last episodes in its own task, `count` steps at most."""
        agent = torch.arange(histories.num_agents)
        own = (histories.by == agent[:, None]) & (histories.length > 0)
        number = torch.arange(own.shape[1])
        last = torch.where(own, number, -1).max(1).values
        before = torch.where(own & (number < last[:, None]), number, -1).max(1).values
        episodes = torch.stack([torch.where(before < 0, last, before), last], 1)
        trials = histories.trials(agent, episodes)
        return cls(
            params=histories.params,
            obs=trials.obs[:, :count],
            action=trials.action[:, :count],
            next_obs=trials.next_obs[:, :count],
            reward=trials.reward[:, :count],
            valid=trials.valid[:, :count],
            shared=torch.tensor(False),
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return it as tensors."""
        return {field.name: getattr(self, field.name).contiguous() for field in fields(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Candidates:
        """Return what `state_dict` said."""
        return cls(**{field.name: state[field.name] for field in fields(cls)})

    @torch.no_grad()
    def chances(
        self, belief: Belief, said: Sequence[Said], encoder: BeliefEncoder, generator: torch.Generator
    ) -> Tensor:
        """Return how likely each task is to be the one, (B, C), summing to 1.

        In proportion to how likely its probes together are to latents of a belief, in the mean of these;
        where each task has probes of its own, against how likely they are to where all tasks' probes lead.

        Args:
            belief: (B, Z).
            said: decoders and their weights.
            encoder: normalises states and actions.
            generator: draws latents.
        """
        noise = torch.randn(len(belief.mean), _DRAWS, belief.mean.shape[-1], generator=generator)
        z = Belief(*(part[:, None] for part in belief)).sample(noise).flatten(0, 1)
        trials = self._as_trials()
        surprise = self._surprise(z, trials, said, encoder)
        if not self.shared:
            beliefs = encoder(trials).mean  # (C, S + 1, Z)
            reached = beliefs[torch.arange(len(beliefs)), trials.lengths]
            surprise = surprise - self._surprise(reached, trials, said, encoder).mean(1, keepdim=True)
        return (-surprise).unflatten(1, (-1, _DRAWS)).logsumexp(-1).softmax(0).T

    @staticmethod
    def _surprise(z: Tensor, trials: Trials, said: Sequence[Said], encoder: BeliefEncoder) -> Tensor:
        """Return how unlikely the probes of each task are to latents (L, Z), (C, L)."""
        z = z.expand(len(trials.task), -1, -1)
        parts = [one.weight * one.decoder.surprise(z, trials, encoder) for one in said]
        return torch.stack(parts).sum(0)

    def _as_trials(self) -> Trials:
        shape = self.reward.shape
        return Trials(
            obs=self.obs,
            action=self.action,
            reward=self.reward,
            next_obs=self.next_obs,
            valid=self.valid,
            episode=torch.zeros(shape, dtype=torch.int64),
            ends=torch.zeros(shape, dtype=torch.bool),  # nobody asks where probes end
            starts=self.obs[:, :1],
            task=torch.arange(shape[0]),
        )


def _far_apart(points: Tensor, count: int) -> Tensor:
    """Return indices of up to `count` points (n, D), each of which is the furthest from those before it."""
    points = (points - points.mean(0)) / points.std(0).clamp_min(1e-6)
    chosen = [0]
    nearest = (points - points[0]).norm(dim=-1)
    while len(chosen) < count and float(nearest.max()) > 0:
        chosen.append(int(nearest.argmax()))
        nearest = nearest.minimum((points - points[chosen[-1]]).norm(dim=-1))
    return torch.tensor(chosen)
