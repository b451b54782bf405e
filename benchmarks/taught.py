"""How far teachers come in their tasks, and students that average them, use their eyes, or act at random.

python benchmarks/taught.py [--tasks tiger_door hidden_hole ...] [--episodes 256] [--seed 11]
python benchmarks/taught.py --tasks tiger_door --errors 0.2 0.4 0.6    (prints alone: which share of errors)

Episodes 0 .. N-1 of the seed, each played once to its end; intervals are Wilson 95 %, steps the mean of the
successes. Teachers of choices draw from what they answer, as they do where they collect; others do as they
say. "average" averages the teacher's answers over what may be hidden, "own eyes" is a script of what the
student sees, "errs" the teacher with so many errors (`teacher_errors`) that about a fifth succeeds. What was
measured before of other tasks stays in the saved file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from results import add_row
from taught_rules import HOLES_M, SIDES, Rule, look_then_reach, on_average, sweep
from torch import Tensor

from robofb.envs import make_task
from robofb.evaluate import evaluate
from robofb.interfaces import EpisodeTeacher, VecEnv
from robofb.policies.student import Choices
from robofb.rng import SAMPLER_STREAM, EpisodeRng, derive_seeds
from robofb.sim.vec_env import SimVecEnv
from robofb.train.episode_teachers import ErringTeacher, RandomTeacher, TeacherAtAnyState
from robofb.types import Obs, num_choices

WHO = ("teacher", "average", "own eyes", "random", "errs")
RULES: dict[str, dict[str, Callable[[Any], Rule]]] = {
    "hidden_hole": {"average": lambda task: on_average(task, HOLES_M), "own eyes": lambda task: sweep},
    "two_boxes": {
        "average": lambda task: on_average(task, SIDES),
        "own eyes": lambda task: look_then_reach(task.teacher()),
    },
}
TASKS = ("tiger_door", "lava_crossing", "memory", *RULES)
ERRORS = {"hidden_hole": 0.85}  # in tiger_door random actions alone succeed too often for a fifth


@dataclass
class Ruled:
    """A rule as a teacher."""

    answer: Rule


class TeacherActs:
    """Do what a teacher answers; implements `interfaces.Agent`."""

    def __init__(self, teacher: EpisodeTeacher, env: VecEnv) -> None:
        self.teacher, self._draws = teacher, num_choices(env.spec.action) is not None
        self._rng = EpisodeRng(torch.zeros(env.num_envs, dtype=torch.int64))

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        """Begin the episodes of `mask` (B,)."""
        self.teacher.begin(mask, seeds)
        self._rng.reseed(mask, derive_seeds(seeds[mask], SAMPLER_STREAM))

    def next(self, obs: Obs) -> Tensor:
        """Return a choice drawn from the answer, or the answer."""
        answer = self.teacher.answer(obs)
        return Choices(answer).draw(self._rng)[:, None] if self._draws else answer


def who_acts(name: str, who: str, task: Any, env: VecEnv, share: float) -> EpisodeTeacher:
    """Return one of `WHO`, `share` of whose answers is in error if it is "errs"."""
    if who == "random":
        return RandomTeacher(env)
    if who in ("teacher", "errs"):
        teacher = TeacherAtAnyState(task.teacher())
        return ErringTeacher(teacher, share, env) if who == "errs" else teacher
    return TeacherAtAnyState(Ruled(RULES[name][who](task)))


def measure(name: str, who: str, episodes: int, num_envs: int, seed: int, share: float) -> dict[str, Any]:
    """Return how one of `WHO` fares in a task."""
    task = make_task(name)
    env = task.make_env(num_envs) if hasattr(task, "make_env") else SimVecEnv(task, num_envs)
    result = evaluate(TeacherActs(who_acts(name, who, task, env, share), env), env, episodes, seed)
    env.close()
    won = result.length[result.success]
    return {
        "task": name,
        "who": who,
        "errors": share if who == "errs" else 0.0,
        "seed": seed,
        **result.rate.to_dict(),
        "steps": float(won.mean()) if len(won) else None,
    }


def cell(figures: dict[str, Any]) -> str:
    """Return a cell of the table: per cent with its interval, and steps to success."""
    percent = 100 * figures["successes"] / figures["episodes"]
    text = f"{percent:.1f} [{100 * figures['low']:.1f}, {100 * figures['high']:.1f}]"
    text += f" ({figures['steps']:.0f})" if figures["steps"] is not None else ""
    return f"{text} at {figures['errors']:g}" if figures["errors"] else text


def asked_of(name: str) -> list[str]:
    """Return who can be measured in a task."""
    known = {"teacher", "random", *RULES.get(name, ()), *(("errs",) if name in ERRORS else ())}
    return [who for who in WHO if who in known]


def main() -> None:
    """Measure, print the table, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--errors", type=float, nargs="+", help="shares to try; saves nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    sizes = (args.episodes, args.num_envs, args.seed)
    if args.errors:
        for name in args.tasks:
            for share in args.errors:
                print(f"| {name} | {cell(measure(name, 'errs', *sizes, share))} |", flush=True)
        return
    print(f"| task | {' | '.join(WHO)} |\n|{'---|' * (len(WHO) + 1)}")
    for name in args.tasks:
        found = {who: measure(name, who, *sizes, ERRORS.get(name, 0.0)) for who in asked_of(name)}
        print(f"| {name} | {' | '.join(cell(found[w]) if w in found else '-' for w in WHO)} |", flush=True)
        for figures in found.values():
            add_row("taught", "taught", figures, ("task", "who"))


if __name__ == "__main__":
    main()
