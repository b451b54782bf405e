"""Which of some tasks a belief is of, as the decoders read it: what a picture of a belief shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from robofb.meta_interfaces import MetaTask
from robofb.rl.borel.belief import Belief, BeliefEncoder
from robofb.rl.borel.decoders import Said
from robofb.rl.histories import Histories, Trials

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
    """

    params: Tensor
    obs: Tensor
    action: Tensor
    next_obs: Tensor
    reward: Tensor

    @classmethod
    def of(cls, histories: Histories, family: MetaTask, count: int, generator: torch.Generator) -> Candidates:
        """Return the tasks of some logs.

        Where tasks move alike all get the same probes, ends of which lie as far from each other as can be,
        paid as each task would; else each gets steps of its own log.

        Args:
            histories: N logs.
            family: of the tasks.
            count: S, or as many different ends as there are.
            generator: draws steps.
        """
        params = histories.params
        if family.moves_alike:
            agent = torch.randint(histories.num_agents, (1, _LOOKED_AT), generator=generator)
        else:
            agent = torch.arange(histories.num_agents)[:, None].expand(-1, count)
        episode = _share_of(histories.num_episodes[agent], generator)
        step = _share_of(histories.length[agent, episode], generator)
        obs, next_obs = (histories.obs[agent, episode, at] for at in (step, step + 1))
        action, reward = (part[agent, episode, step] for part in (histories.action, histories.reward))
        if family.moves_alike:
            apart = _far_apart(next_obs[0], count)
            obs, action, next_obs = (
                part[:, apart].expand(len(params), -1, -1) for part in (obs, action, next_obs)
            )
            reward = family.relabel(params[:, None], obs, action, next_obs)
        return cls(params, obs, action, next_obs, reward)

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

        In proportion to how likely its probes together are to latents of a belief, in the mean of these.

        Args:
            belief: (B, Z).
            said: decoders and their weights.
            encoder: normalises states and actions.
            generator: draws latents.
        """
        noise = torch.randn(len(belief.mean), _DRAWS, belief.mean.shape[-1], generator=generator)
        z = Belief(*(part[:, None] for part in belief)).sample(noise).flatten(0, 1)
        z = z.expand(len(self.params), -1, -1)  # (C, B * draws, Z)
        trials = self._as_trials()
        surprise = torch.stack([one.weight * one.decoder.surprise(z, trials, encoder) for one in said]).sum(0)
        return (-surprise).unflatten(1, (-1, _DRAWS)).logsumexp(-1).softmax(0).T

    def _as_trials(self) -> Trials:
        shape = self.reward.shape
        return Trials(
            obs=self.obs,
            action=self.action,
            reward=self.reward,
            next_obs=self.next_obs,
            valid=torch.ones(shape, dtype=torch.bool),
            episode=torch.zeros(shape, dtype=torch.int64),
            terminated=torch.zeros(shape, dtype=torch.bool),
            agent=torch.arange(shape[0]),
        )


def _share_of(most: Tensor, generator: torch.Generator) -> Tensor:
    """Return whole numbers drawn evenly from 0 to below `most`."""
    return (torch.rand(most.shape, generator=generator) * most).long()


def _far_apart(points: Tensor, count: int) -> Tensor:
    """Return indices of up to `count` points (n, D), each of which is the furthest from those before it."""
    points = (points - points.mean(0)) / points.std(0).clamp_min(1e-6)
    chosen = [0]
    nearest = (points - points[0]).norm(dim=-1)
    while len(chosen) < count and float(nearest.max()) > 0:
        chosen.append(int(nearest.argmax()))
        nearest = nearest.minimum((points - points[chosen[-1]]).norm(dim=-1))
    return torch.tensor(chosen)
