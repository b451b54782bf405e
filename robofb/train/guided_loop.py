"""One iteration of learning from a teacher and from reward: collect, then learn from old and new."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robofb.optimisation import finite_means
from robofb.rl.balance import Signals
from robofb.rl.guided import GuidedLearner
from robofb.train.episodes import EpisodeCount
from robofb.train.guided_collector import GuidedCollector
from robofb.train.stopwatch import Stopwatch

TEACHER_NAME = "teacher"


class ReturnsByPolicy:
    """Follow the return, not discounted, of each policy's own episodes by a moving mean.

    Args:
        num_policies: P.
        share: of the mean that a new episode takes over.
    """

    def __init__(self, num_policies: int, share: float = 0.05) -> None:
        self.share = share
        self.means: list[float | None] = [None] * num_policies

    def add(self, rows: Tensor) -> None:
        """Take in episodes (n, 2): who acted, and the return."""
        for driver, value in rows.tolist():
            if int(driver) < len(self.means):
                before = self.means[int(driver)]
                self.means[int(driver)] = value if before is None else before + self.share * (value - before)

    @property
    def gap(self) -> float | None:
        """The first policy's mean less the second's, None before both have one."""
        first, second = (*self.means, None)[:2]
        return None if first is None or second is None else first - second


class GuidedTraining:
    """What `RlTraining` trains: students, their critics and the balance. An iteration steps it once.

    Args:
        learner: learns.
        collector: acts.
        gap_from: "replay", by the critics, or "returns", by the returns of each policy's own episodes.
        rollout_steps: control steps of each env in one iteration.
        warmup_steps: control steps, all envs together, before which nothing is learnt.
        updates: gradient steps in one iteration.
        batch_size: moves in each; with a memory as many whole episodes as have `batch_size` moves on average.
        generator: draws the batches.
        threads: torch's threads in the updates.
    """

    def __init__(
        self,
        learner: GuidedLearner,
        collector: GuidedCollector,
        *,
        gap_from: str,
        rollout_steps: int,
        warmup_steps: int,
        updates: int,
        batch_size: int,
        generator: torch.Generator,
        threads: int = 1,
    ) -> None:
        self.learner, self.collector, self.policy = learner, collector, learner.policy
        self.gap_from = gap_from
        self.rollout_steps, self.warmup_steps = rollout_steps, warmup_steps
        self.updates, self.batch_size = updates, batch_size
        self.generator, self.threads = generator, threads
        self.returns = ReturnsByPolicy(self.policy.num_policies)
        self.clock = Stopwatch()
        self.env_steps = self.iteration = self.num_updates = 0

    def step(self) -> dict[str, float]:
        """Collect, learn once the warm-up is over, adjust the balance; return metrics."""
        env = self.collector.env
        count = EpisodeCount(env.device)
        metrics: dict[str, float] = {}
        with self.clock.iteration(metrics):
            for _ in range(self.rollout_steps):
                self.collector.step(count, self.clock)
            self.env_steps += self.rollout_steps * env.num_envs
            metrics |= self._tell_returns()
            if self.env_steps >= self.warmup_steps and self.collector.replay.num_episodes:
                with self.clock("update"):
                    metrics |= self._learn()
        self.iteration += 1
        return metrics | count.metrics()

    def _tell_returns(self) -> dict[str, float]:
        """Return the mean return of the episodes that ended, by who acted in them."""
        if not self.collector.returns:
            return {}
        rows = torch.cat(self.collector.returns)
        self.collector.returns = []
        self.returns.add(rows)
        names = (*self.learner.balance.policies, TEACHER_NAME)
        metrics = {}
        for index, name in enumerate(names):
            own = rows[rows[:, 0] == index]
            if len(own):
                metrics[f"train/return_{name}"] = float(own[:, 1].mean())
        return metrics

    def _learn(self) -> dict[str, float]:
        """Do the iteration's updates; return the means of their metrics."""
        torch.set_num_threads(self.threads)
        history = []
        for _ in range(self.updates):
            batch = self._batch()
            history.append(self.learner.update(batch))
            self.num_updates += 1
        torch.set_num_threads(1)
        metrics = finite_means(
            history,
            lambda: {
                "inputs": batch,
                "algorithm": self.learner.state_dict(),
                "policy": self.policy.state_dict(),
            },
        )
        gap = metrics.get("gap") if self.gap_from == "replay" else self._gap_of_returns()
        balance = self.learner.balance
        balance.step(Signals(gap, metrics.get("cross_entropy", 0.0)))
        told = {f"balance/{name}": value for name, value in balance.metrics().items()}
        return {f"update/{name}": value for name, value in metrics.items()} | told

    def _gap_of_returns(self) -> float | None:
        gap = self.returns.gap
        return None if gap is None else self.learner.reward_scale * gap

    def _batch(self) -> dict[str, Tensor]:
        replay = self.collector.replay
        mean_length = replay.num_moves / replay.num_episodes
        if self.policy.memories.size:
            episodes = max(1, round(self.batch_size / mean_length))
            batch = replay.sample_episodes(episodes, self.generator)
            batch["per_episode"] = batch["valid"].sum() / episodes
            return batch
        batch = replay.sample_moves(self.batch_size, self.generator)
        batch["per_episode"] = torch.tensor(mean_length, device=replay.device)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return all but the policies' weights, for a resume; exact where the env is `Resumable`."""
        return {
            "learner": self.learner.state_dict(),
            "replay": self.collector.replay.state_dict(),
            "collector": self.collector.state_dict(),
            "generator": self.generator.get_state(),
            "returns": list(self.returns.means),
            "env_steps": self.env_steps,
            "iteration": self.iteration,
            "num_updates": self.num_updates,
            "clock": dict(self.clock.seconds),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.learner.load_state_dict(state["learner"])
        self.collector.replay.load_state_dict(state["replay"])
        self.generator.set_state(state["generator"])
        self.returns.means = list(state["returns"])
        self.env_steps, self.iteration = state["env_steps"], state["iteration"]
        self.num_updates = state["num_updates"]
        self.clock.seconds = dict(state["clock"])
        self.collector.load_state_dict(state["collector"], self.iteration)
