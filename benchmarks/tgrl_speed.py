"""Gradient updates per CPU second of TGRL against a plain soft actor-critic of the same networks, in one run.

python benchmarks/tgrl_speed.py [--updates 100] [--budget-s 30] [--batch-size 256] [--hidden 256 256]

TGRL trains two policies and five critics, and estimates the gap; soft actor-critic
trains one policy and two critics, on the same batches (observation 64, action 6). Last line: one JSON line.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import torch
from results import save_result
from timing import medians_in_turns

from robofb.policies.squashed import SquashedActor
from robofb.policies.student import StudentPolicy
from robofb.rl.balance import Lagrangian
from robofb.rl.guided import GuidedLearner
from robofb.rl.guided_critics import ContinuousMath, GuidedCritics
from robofb.rl.q_ensemble import QEnsemble
from robofb.rl.sac import SAC
from robofb.types import ArraySpec, EnvSpec

OBS, ACTION = 64, 6


def make_tgrl(hidden: list[int]) -> GuidedLearner:
    """Return TGRL with continuous actions."""
    box = ArraySpec((ACTION,), low=(-1.0,) * ACTION, high=(1.0,) * ACTION)
    spec = EnvSpec("speed", {"state": ArraySpec((OBS,))}, box, 0.1, 100)
    generator = torch.Generator().manual_seed(0)
    policy = StudentPolicy(spec, ["state"], num_policies=2, hidden=hidden, generator=generator)
    critics = GuidedCritics(policy, hidden=hidden, foresees_teacher=True, generator=generator)
    return GuidedLearner(
        policy, critics, Lagrangian(), ContinuousMath(0.3, generator), gamma=0.99, target_entropy=-6.0
    )


def make_sac(hidden: list[int]) -> SAC:
    """Return soft actor-critic with the same sizes."""
    generator = torch.Generator().manual_seed(0)
    actor = SquashedActor(OBS, ACTION, hidden=hidden, generator=generator)
    return SAC(actor, QEnsemble(OBS, ACTION, hidden=hidden, generator=generator), generator)


def make_batch(count: int) -> dict[str, torch.Tensor]:
    """Return what either learns from."""
    generator = torch.Generator().manual_seed(1)
    obs, after = (torch.randn(count, OBS, generator=generator) for _ in range(2))
    action, answer = (2 * torch.rand(count, ACTION, generator=generator) - 1 for _ in range(2))
    never = torch.zeros(count, dtype=torch.bool)
    shared = {"action": action, "reward": torch.randn(count, generator=generator)}
    sac = {"obs": obs, "next_obs": after, "discount": torch.full((count,), 0.99)}
    states = {"state": obs, "next_state": after, "answer": answer, "next_answer": answer}
    ends = {"t": torch.zeros(count, dtype=torch.int64), "terminated": never, "cut": never}
    return {**shared, **sac, **states, **ends, "per_episode": torch.tensor(100.0)}


def main() -> None:
    """Time both in turns, print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--budget-s", type=float, default=30.0)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 256])
    args = parser.parse_args()
    torch.set_num_threads(1)
    batch = make_batch(args.batch_size)
    learners: dict[str, Any] = {"tgrl": make_tgrl(args.hidden), "plain_sac": make_sac(args.hidden)}

    def work(learner: Any) -> None:
        for _ in range(args.updates):
            learner.update(batch)

    ways = {name: partial(work, learner) for name, learner in learners.items()}
    seconds = medians_in_turns(ways, budget_s=args.budget_s, min_rounds=5, clock=time.process_time)
    figures = {
        "updates_per_cpu_s": {name: args.updates / median for name, median in seconds.items()},
        "ratio_to_plain_sac": seconds["plain_sac"] / seconds["tgrl"],
        "batch_size": args.batch_size,
        "hidden": args.hidden,
    }
    for name, median in seconds.items():
        print(f"{name}: {args.updates / median:.0f} updates per CPU second")
    print(f"ratio {figures['ratio_to_plain_sac']:.2f}")
    save_result("tgrl_speed", figures)


if __name__ == "__main__":
    main()
