"""Backward augmentation (JUICER, arXiv 2404.03729): corrective snippets that lead into bottlenecks.

From a demonstration's bottleneck the arm retreats at random; its path reversed leads back, and the
demonstration goes on from there. What arrives where the demonstration arrived is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robofb.augment.demonstrations import Start
from robofb.augment.poses import ActionColumns, action_columns, pose_key, poses_by_body
from robofb.augment.retreat import DISTANCE_M, Retreat, draw_retreat
from robofb.errors import UserError
from robofb.geometry import matrix_to_rot6d, rotation_angle
from robofb.progress import progress_bar
from robofb.rng import SNIPPET_STREAM, EpisodeRng, derive_seeds
from robofb.sim.record import Recorder
from robofb.sim.vec_env import SimVecEnv
from robofb.store.bottlenecks import BOTTLENECKS
from robofb.store.element_names import EE, WIDTH, PoseColumns
from robofb.store.episodes import EpisodeStore
from robofb.types import SIM_STATE, SOURCE_AUGMENTED, Episode

ROUND = 32  # attempts that are drawn with the same counts of successes, whatever the number of envs
MOST_ATTEMPTS_PER_SNIPPET = 30
PART_TOLERANCE_M, PART_TOLERANCE_RAD = 0.017, math.radians(20)
GRIPPER_TOLERANCE_M = 0.005
_OWN_FACTS = (BOTTLENECKS, "episode_seed")  # of a demonstration, untrue of a snippet


@dataclass(frozen=True)
class Attempt:
    """One draw: number `number` of its seed retreats from bottleneck `place`."""

    number: int
    place: int
    retreat: Retreat


@dataclass
class Augmented:
    """What an augmentation did: attempts made now and snippets kept now, and snippets held in all."""

    attempts: int = 0
    kept: int = 0
    total: int = 0


def draw_attempts(
    first: int, seed: int, successes: Sequence[int], distance_m: Sequence[float] = DISTANCE_M
) -> list[Attempt]:
    """Draw attempts `first` .. to the end of its round of `ROUND`.

    Args:
        seed: of the augmentation.
        successes: kept snippets by bottleneck before this round; one is drawn in proportion to
            1 / (1 + successes).
        distance_m: see `draw_retreat`.
    """
    weights = 1.0 / (1.0 + np.asarray(successes, np.float64))
    upper = np.cumsum(weights) / weights.sum()
    attempts = []
    for number in range(first, (first // ROUND + 1) * ROUND):
        rng = EpisodeRng(derive_seeds(derive_seeds(seed, SNIPPET_STREAM), number).reshape(1))
        place = int(np.searchsorted(upper, float(rng.uniform(1)), side="right"))
        attempts.append(Attempt(number, min(place, len(upper) - 1), draw_retreat(rng, distance_m)))
    return attempts


class BackwardAugmenter:
    """Make snippets from the bottlenecks of a dataset.

    Args:
        source: path of the demonstrations, for the snippets' meta.
        starts: their bottlenecks, see `find_starts`.
        env: of their task, with `sim_state` and without `autoreset`; its size changes the speed, never
            the snippets.
        seed: of all draws.
        distance_m: see `draw_retreat`.
        need_success: a snippet that repeats a demonstration to its success must succeed too; the paper
            compares poses alone, which a leg beside its hole passes.
    """

    def __init__(
        self,
        source: str,
        starts: Sequence[Start],
        env: SimVecEnv,
        seed: int,
        distance_m: Sequence[float] = DISTANCE_M,
        need_success: bool = True,
    ) -> None:
        self.source, self.starts, self.env, self.seed = source, starts, env, seed
        self.distance_m, self.need_success = tuple(distance_m), need_success
        self.key = pose_key(env.spec)
        self.names = env.spec.obs[self.key].names
        self.poses = poses_by_body(env.spec.obs[self.key])
        self.action: ActionColumns = action_columns(env.spec.action)

    def fill(self, store: EpisodeStore, snippets: int) -> Augmented:
        """Append snippets until `store` holds so many; what it holds already is gone on from.

        Raises:
            UserError: hardly any attempt arrives.
        """
        done = [entry["augmentation"] for entry in (episode.meta for episode in store)]
        outcome = Augmented(total=len(store))
        first = done[-1]["attempt"] + 1 if done else 0
        most = first + MOST_ATTEMPTS_PER_SNIPPET * max(snippets - len(store), 0) + ROUND
        with progress_bar(snippets, "snippets", "snippet", len(store)) as bar:
            while outcome.total < snippets:
                if first >= most:
                    raise UserError(
                        f"gave up after {outcome.attempts} attempts: {outcome.total} of {snippets} snippets"
                    )
                start = first - first % ROUND
                before = [each["bottleneck"] for each in done if each["attempt"] < start]
                counts = np.bincount(np.array(before, int), minlength=len(self.starts))
                for snippet in self.try_round(
                    draw_attempts(first, self.seed, counts.tolist(), self.distance_m)
                ):
                    if outcome.total == snippets:
                        break
                    first = first + 1
                    outcome.attempts += 1
                    if snippet is not None:
                        store.append(snippet)
                        done.append(snippet.meta["augmentation"])
                        outcome.kept, outcome.total = outcome.kept + 1, outcome.total + 1
                        bar.update()
        return outcome

    def try_round(self, attempts: list[Attempt]) -> list[Episode | None]:
        """Run any number of attempts, as many at a time as there are envs; see `run`."""
        size = self.env.num_envs
        groups = [attempts[start : start + size] for start in range(0, len(attempts), size)]
        return [snippet for group in groups for snippet in self.run(group)]

    def run(self, attempts: Sequence[Attempt]) -> list[Episode | None]:
        """Retreat, come back, go on; return each attempt's snippet, None where it did not arrive.

        Args:
            attempts: at most as many as there are envs.
        """
        starts, plans = self._retreat(attempts)
        episodes: list[Episode | None] = [None] * len(attempts)
        obs = self.env.restore(self._fill_up(starts))
        recorder = Recorder(self.env, obs, SOURCE_AUGMENTED)
        running = [len(plan) > 0 for plan in plans]
        for index in range(max(len(plan) for plan in plans)):
            rows = [plan[min(index, len(plan) - 1)] for plan in plans]
            action = self._fill_up(rows)
            step = self.env.step(action)
            recorder.add(action, step.reward, step.final_obs)
            for world in [world for world, runs in enumerate(running) if runs]:
                success = bool(step.info["success"][world])
                terminated = bool(step.terminated[world])
                if terminated or index + 1 == len(plans[world]):
                    running[world] = False
                    facts = self._facts(attempts[world], len(plans[world]))
                    episode = recorder.cut(world, success, terminated, facts)
                    episodes[world] = episode if self.arrived(episode, attempts[world]) else None
        return episodes

    def _retreat(self, attempts: Sequence[Attempt]) -> tuple[list[Tensor], list[Tensor]]:
        """Return where each attempt's snippet starts (S,), and its actions (N, A)."""
        places = [self.starts[attempt.place] for attempt in attempts]
        obs = self.env.restore(self._fill_up([torch.from_numpy(place.sim_state.copy()) for place in places]))
        ways = [
            self._away(obs[self.key][row], place, attempt.retreat)
            for row, (place, attempt) in enumerate(zip(places, attempts, strict=True))
        ]
        seen, states = [obs[self.key]], [obs[SIM_STATE]]
        for index in range(max(len(way) for way in ways)):
            step = self.env.step(self._fill_up([way[min(index, len(way) - 1)] for way in ways]))
            seen.append(step.final_obs[self.key])
            states.append(step.final_obs[SIM_STATE])
        starts = [states[len(way)][row] for row, way in enumerate(ways)]
        plans = []
        for row, (place, way) in enumerate(zip(places, ways, strict=True)):
            back = torch.stack([seen[index][row] for index in range(len(way))][::-1])  # (N, D)
            onward = torch.from_numpy(place.onward.copy())
            reverse = self._command(back[:, self._ee.position], self._ee.matrix(back), place.hold)
            plans.append(torch.cat([reverse, onward]))
        return starts, plans

    def _away(self, seen: Tensor, place: Start, retreat: Retreat) -> Tensor:
        """Return the actions (N, A) that lead away from what is seen (D,) at a bottleneck."""
        position, rotation = seen[list(self._ee.position)], self._ee.matrix(seen)
        path = retreat.waypoints(position, rotation, self.action.low_m, self.action.high_m)
        return self._command(*path, place.hold)

    def _command(self, position: Tensor, rotation: Tensor, gripper: float) -> Tensor:
        """Return pose actions (N, A) for positions (N, 3) and rotations (N, 3, 3)."""
        action = torch.empty(len(position), self.env.spec.action.shape[0])
        action[:, self.action.pose.position] = position.float()
        action[:, self.action.pose.rotation] = matrix_to_rot6d(rotation).float()
        action[:, self.action.gripper] = gripper
        return action

    def _fill_up(self, rows: Sequence[Tensor]) -> Tensor:
        """Stack rows (n, ...) to one for each env; those too many repeat the first."""
        return torch.stack([*rows, *[rows[0]] * (self.env.num_envs - len(rows))])

    @property
    def _ee(self) -> PoseColumns:
        return self.poses[EE]

    def arrived(self, episode: Episode, attempt: Attempt) -> bool:
        """Tell whether a snippet ends where the demonstration was, every part and the gripper."""
        place = self.starts[attempt.place]
        if not episode.success and (episode.terminated or (place.succeeds and self.need_success)):
            return False
        ends = torch.from_numpy(np.stack([episode.obs[self.key][-1], place.goal])).double()
        for body, pose in self.poses.items():
            gap_m = float((ends[0, list(pose.position)] - ends[1, list(pose.position)]).norm())
            matrices = pose.matrix(ends) if pose.rotation else torch.eye(3).expand(2, 3, 3)
            angle_rad = float(rotation_angle(matrices[0], matrices[1]))
            if body != EE and (gap_m > PART_TOLERANCE_M or angle_rad > PART_TOLERANCE_RAD):
                return False
        if WIDTH not in self.names:
            return True
        width = self.names.index(WIDTH)
        return abs(float(ends[0, width] - ends[1, width])) <= GRIPPER_TOLERANCE_M

    def _facts(self, attempt: Attempt, num_actions: int) -> dict[str, Any]:
        """Return a snippet's meta: the demonstration's facts and how the snippet was made."""
        place = self.starts[attempt.place]
        kept = {key: value for key, value in place.facts.items() if key not in _OWN_FACTS}
        return {
            **kept,
            "augmentation": {
                "method": "backward",
                "source": self.source,
                "episode": place.episode,
                "step": place.mark.step,
                "until": place.until,
                "bottleneck": attempt.place,
                "by": place.mark.by,
                "why": place.mark.why,
                "seed": self.seed,
                "attempt": attempt.number,
                "steps_back": num_actions - len(place.onward),
                "retreat": asdict(attempt.retreat),
            },
        }
