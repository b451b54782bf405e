"""Complete histories of N single-task agents in memory, and the trials that are cut out of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.policies.single_task import STATE
from robofb.progress import progress_bar
from robofb.store.agent_logs import AgentLogs


class Trials(NamedTuple):
    """Trials of K episodes, or pieces of them, M trials; their steps stand one after the other in T places.

    Attributes:
        obs, next_obs: (M, T, D) before and after each step, the latter before any reset.
        action: (M, T, A).
        reward: (M, T).
        valid: (M, T) bool, false behind a trial's last step.
        episode: (M, T) int64, 0..K-1, to which each step belongs.
        ends: (M, T) bool, the step is its episode's last one.
        starts: (M, K, D) where these episodes began.
        task: (M,) int64 which task's it is, by the number of its agent; in mixtures, among those they are of.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor
    valid: Tensor
    episode: Tensor
    ends: Tensor
    starts: Tensor
    task: Tensor

    @property
    def lengths(self) -> Tensor:
        """(M,) int64 steps of each trial."""
        return self.valid.sum(1)

    def rows(self, which: Tensor) -> Trials:
        """Return some of the trials, (n,) int64 or (M,) bool."""
        return Trials(*(part[which] for part in self))


@dataclass(frozen=True)
class Histories:
    """E episodes of each of N agents, in the order in which they ended; shorter ones are padded with zeros.

    Attributes:
        obs: (N, E, H + 1, D) float32.
        action: (N, E, H, A) float32 or int64.
        reward: (N, E, H) float32.
        length: (N, E) int64, 0 where an agent has fewer episodes.
        params: (N, P) float32 of the agents' tasks.
        by: (N, E) int64, the agent that acted: the task's own, or a visitor.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    length: Tensor
    params: Tensor
    by: Tensor

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of all of it."""
        digest = hashlib.sha256()
        for field in fields(self):
            part: Tensor = getattr(self, field.name)
            digest.update(f"{field.name} {tuple(part.shape)} {part.dtype}".encode())
            digest.update(part.contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def num_agents(self) -> int:
        """N."""
        return len(self.params)

    @property
    def horizon(self) -> int:
        """H."""
        return self.action.shape[2]

    @property
    def num_episodes(self) -> Tensor:
        """(N,) int64 episodes of each agent."""
        return (self.length > 0).sum(1)

    def trials(
        self,
        agent: Tensor,
        episodes: Tensor,
        source: Tensor | None = None,
        first: Tensor | None = None,
        steps: int | None = None,
    ) -> Trials:
        """Return trials made of some agents' episodes, whose steps are moved together.

        Args:
            agent: (M,) int64 whose trials they are.
            episodes: (M, K) int64 numbers of episodes, in their order.
            source: (M, K) int64 from whose log each episode is, where not from `agent`'s.
            first: (M, K) int64 step of each episode that its piece begins with; 0 where None.
            steps: of each piece, if the episode has as many; all where None.
        """
        who = agent[:, None] if source is None else source
        length = self.length[who, episodes][..., None]  # (M, K, 1)
        step = torch.arange(self.horizon if steps is None else steps)
        if first is not None:
            step = first[..., None] + step
        step = step.expand(*episodes.shape, -1)  # (M, K, S)
        valid = step < length
        ends = step == length - 1
        at = (who[..., None], episodes[..., None], step.clamp(max=self.horizon - 1))
        number = torch.arange(episodes.shape[1])[None, :, None].expand_as(valid)
        parts = {
            "obs": self.obs[at],
            "action": self.action[at],
            "reward": self.reward[at],
            "next_obs": self.obs[at[0], at[1], at[2] + 1],
            "valid": valid,
            "episode": number,
            "ends": ends,
        }
        parts = {name: part.flatten(1, 2) for name, part in parts.items()}
        if not valid.all():
            parts = {name: _moved(part, valid.flatten(1)) for name, part in parts.items()}
        return Trials(**parts, starts=self.obs[who, episodes, 0], task=agent)

    def draw(self, agent: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return numbers (M, K) of K = `count` consecutive episodes of agents (M,), drawn evenly.

        Raises:
            ValueError: an agent has fewer.
        """
        room = self.num_episodes[agent] - count + 1
        if int(room.min()) < 1:
            raise ValueError(f"an agent has fewer than {count} episodes")
        first = (torch.rand(len(agent), generator=generator) * room).long()
        return first[:, None] + torch.arange(count)


def below(most: Tensor, generator: torch.Generator) -> Tensor:
    """Return whole numbers drawn evenly from 0 to below `most`."""
    return (torch.rand(most.shape, generator=generator) * most).long()


def _moved(part: Tensor, valid: Tensor) -> Tensor:
    """Return (M, T, ...) with the valid steps (M, T) at the front, in their order."""
    order = (~valid).int().argsort(dim=1, stable=True)
    index = order.view(*order.shape, *[1] * (part.dim() - 2)).expand_as(part)
    return part.gather(1, index)


def load_histories(logs: AgentLogs) -> Histories:
    """Read agents' logs into memory.

    Raises:
        UserError: an agent has fewer episodes than a trial, or its log holds NaN.
    """
    num_agents, spec = len(logs), logs.spec
    counts = [len(store) for store in logs]
    for store, count in zip(logs, counts, strict=True):
        if count < logs.episodes_per_trial:
            raise UserError(f"{store.path} has {count} episodes, a trial {logs.episodes_per_trial}")
    most = max(counts)
    horizon = max(int(store.episode_lengths.max()) for store in logs)
    state, action = spec.obs[STATE].shape, spec.action.shape
    obs = np.zeros((num_agents, most, horizon + 1, *state), np.float32)
    actions = np.zeros((num_agents, most, horizon, *action), spec.action.dtype)
    reward = np.zeros((num_agents, most, horizon), np.float32)
    length = np.zeros((num_agents, most), np.int64)
    by = np.zeros((num_agents, most), np.int64)
    with progress_bar(num_agents, "read logs", "agent", delay_s=2.0) as bar:
        for agent, store in enumerate(logs):
            own = store.episode_lengths
            row = np.repeat(np.arange(len(own)), own)
            step = np.arange(own.sum()) - np.repeat(store.episode_ends - own, own)
            obs[agent, row, step] = store.read_finite(STATE)
            obs[agent, np.arange(len(own)), own] = store.finals(STATE)
            actions[agent, row, step] = store.read_finite("action")
            reward[agent, row, step] = store.read_finite("reward")
            length[agent, : len(own)] = own
            by[agent, : len(own)] = [entry.meta.get("by_agent", agent) for entry in store.entries]
            bar.update()
    return Histories(
        obs=torch.from_numpy(obs),
        action=torch.from_numpy(actions),
        reward=torch.from_numpy(reward),
        length=torch.from_numpy(length),
        params=torch.tensor(logs.params, dtype=torch.float32),
        by=torch.from_numpy(by),
    )
