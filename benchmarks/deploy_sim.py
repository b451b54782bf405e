"""A policy of the simulation through the whole way of a deployment, against the same episodes without it.

python benchmarks/deploy_sim.py --run RUN/residual [--episodes 256] [--seed 30000] [--clock] [--no-save]

RUN is a quickstart's. Through gate, controller and limiter in simulated time, then straight in the simulator;
with --clock also by the clock, in processes of their own, which takes as long as the episodes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cells import call, percent
from results import save_result

from robofb.run import Run
from robofb.stats import SuccessRate


def main() -> None:
    """Deploy, evaluate, print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="of the policy")
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--seed", type=int, default=30_000, help="of start states")
    parser.add_argument("--clock", action="store_true", help="also in real time")
    parser.add_argument("--no-save", action="store_true", help="leave results as they are")
    args = parser.parse_args()
    words = (f"run={args.run}", f"episodes={args.episodes}", f"seed={args.seed}")
    ways = {
        "simulated time": ("deploy", "arm=sim"),
        "no deployment": ("eval",),
        **({"by the clock": ("deploy", "arm=sim", "realtime=true")} if args.clock else {}),
    }
    found: dict[str, Any] = {}
    for name, (verb, *more) in ways.items():
        call(verb, *words, *more)
        facts = Run.open(args.run).summary()[verb]
        found[name] = {part: facts[part] for part in ("successes", "episodes", "low", "high", "seconds")}
    for name, facts in found.items():
        rate = SuccessRate(facts["successes"], facts["episodes"])
        print(f"{name}: {facts['successes']} of {facts['episodes']}, {percent(rate)} %")
    if not args.no_save:
        save_result("deploy_sim", {"seed": args.seed, "ways": found})


if __name__ == "__main__":
    main()
