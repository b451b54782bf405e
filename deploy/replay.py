"""Run a policy again on what a deployment recorded, and say where it plans something else now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robofb.deploy.live.draft import FACT_NAMES, FACTS, PLAN, PLAN_ROWS
from robofb.deploy.live.policy_process import Plans, RunPolicy, seed_of
from robofb.errors import UserError, check_at_least, check_threads
from robofb.geometry import rot6d_to_matrix
from robofb.progress import progress_bar
from robofb.run import Run
from robofb.store.checks import check_same_spec
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_POLICY, Episode

_EPOCH, _COUNT = FACT_NAMES.index("epoch"), FACT_NAMES.index("plan_count")


@dataclass
class ReplayConfig:
    """What `robofb deploy replay` reads.

    Attributes:
        data: dataset that a deployment recorded.
        run: run folder of the policy; null takes the one that each episode names.
        checkpoint: latest, best, or a checkpoint's path; null takes the one that each episode names.
        execute: actions executed per chunk; null takes what each episode names. Where a policy server was
            told another number than the policy's own, no episode knows it: say the same here.
        episodes: their numbers; null takes all.
        threads: torch's CPU threads; other than in the deployment may change the last bits.
    """

    data: str = "???"
    run: str | None = None
    checkpoint: str | None = None
    execute: int | None = None
    episodes: list[int] | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        check_at_least(self, 1, "threads", *(["execute"] if self.execute is not None else []))
        check_threads(self.threads)


@dataclass(frozen=True)
class Difference:
    """Between the plans of an episode and those that the policy makes of the same observations now.

    Attributes:
        episode: its number.
        plans: how many were compared.
        same: how many are equal to the last bit.
        furthest_m, furthest_rad: largest distance and angle between two actions; 0 without plans.
        gripper: actions in which the gripper is told otherwise.
        other_weights: the file that plans now is not the one that planned then, where the episode says which.
    """

    episode: int
    plans: int
    same: int
    furthest_m: float
    furthest_rad: float
    gripper: int
    other_weights: bool = False


def replay(cfg: ReplayConfig) -> list[Difference]:
    """Print the difference of each episode, and return it.

    Raises:
        UserError: nobody deployed that dataset, it has no such episode, or the policy sees something else.
    """
    with EpisodeStore.open(Path(cfg.data)) as store:
        if FACTS not in store.spec.obs:
            raise UserError(f"{cfg.data} was not recorded by a deployment: it holds no {FACTS}")
        numbers = list(range(len(store))) if cfg.episodes is None else list(cfg.episodes)
        for number in numbers:
            if not 0 <= number < len(store):
                raise UserError(f"episodes={number}: {cfg.data} holds 0 to {len(store) - 1}")
        found = []
        with progress_bar(len(numbers), "replay", "episode") as bar:
            for number in numbers:
                found.append(_replayed(cfg, store, number))
                bar.update()
    for each in found:
        print(
            f"episode {each.episode}: {each.same} of {each.plans} plans are the same;"
            f" at most {1000 * each.furthest_m:.2f} mm and {each.furthest_rad:.4f} rad apart,"
            f" the gripper differs in {each.gripper} actions"
            f"{', by other weights' if each.other_weights else ''}"
        )
    return found


def _replayed(cfg: ReplayConfig, store: EpisodeStore, number: int) -> Difference:
    episode = store[number]
    run = cfg.run or episode.meta.get("run")
    if not isinstance(run, str):
        raise UserError(f"episode {number} of {cfg.data} names no run: say run=...")
    if type(seed := episode.meta.get("episode_seed")) is not int:
        raise UserError(f"episode {number} of {cfg.data} has episode_seed={seed!r}: it was not deployed")
    which = cfg.checkpoint or str(episode.meta.get("checkpoint", "best"))
    execute = cfg.execute or episode.meta.get("execute")
    source = RunPolicy(Path(run), which, execute, cfg.threads)
    planner = source.make()
    agent: Any = planner.agent
    spec = agent.policy.spec
    check_same_spec(store.spec.only(spec.obs), spec, cfg.data)
    digest = Run.open(run).checkpoint_digest(which)
    other = episode.meta.get("checkpoint_sha256", digest) != digest
    return replace(compare(planner, episode, number, tuple(spec.obs)), other_weights=other)


def compare(planner: Plans, episode: Episode, number: int, keys: tuple[str, ...]) -> Difference:
    """Return how a planner's plans differ from those recorded with an episode.

    Args:
        planner: plans at each row in which a policy drove.
        episode: with `draft.PLAN` and `draft.FACTS`.
        number: of the episode.
        keys: of what the planner sees.
    """
    seed, facts = int(episode.meta["episode_seed"]), episode.obs[FACTS]
    epoch, gaps = None, []
    for row in range(len(episode)):
        if episode.source[row] != SOURCE_POLICY:
            continue
        if facts[row, _EPOCH] != epoch:
            epoch = facts[row, _EPOCH]
            planner.begin(seed_of(seed, int(epoch)))
        count = int(facts[row, _COUNT])
        if count == 0:
            planner.skip()
            continue
        obs = {key: torch.from_numpy(episode.obs[key][row : row + 1].copy()) for key in keys}
        plan = np.asarray(planner.plan(obs), np.float32)[:PLAN_ROWS]
        if count > 0:
            gaps.append(_gap(plan, episode.obs[PLAN][row][:count]))
    same = sum(gap == (0.0, 0.0, 0) for gap in gaps)
    metres, radians, gripper = zip(*gaps, strict=True) if gaps else ((0.0,), (0.0,), (0,))
    return Difference(number, len(gaps), same, max(metres), max(radians), sum(gripper))


def _gap(plan: np.ndarray, recorded: np.ndarray) -> tuple[float, float, int]:
    """Return distance [m], angle [rad] and differing gripper commands of two plans (n, 10).

    All are 0 only where the plans are the same to the last bit.
    """
    steps = min(len(plan), len(recorded))
    a, b = plan[:steps].astype(np.float64), recorded[:steps].astype(np.float64)
    if len(plan) == len(recorded) and np.array_equal(a, b):
        return 0.0, 0.0, 0
    away = float(np.linalg.norm(a[:, :3] - b[:, :3], axis=1).max())
    turns = [rot6d_to_matrix(torch.from_numpy(rows[:, 3:9])) for rows in (a, b)]
    traces = (turns[0].mT @ turns[1]).diagonal(dim1=-2, dim2=-1).sum(-1)
    angle = float(torch.arccos(((traces - 1) / 2).clamp(-1, 1)).max())
    return max(away, 1e-12), angle, int((np.sign(a[:, 9]) != np.sign(b[:, 9])).sum())
