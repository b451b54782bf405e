"""Success in `hidden_holes` where an episode may take fewer steps than a search: what the second one gains.

python benchmarks/borel_hidden_holes.py RUN [RUN ...] [--steps 8 10 12 14 16 20 24 32 40] [--trials 512]
    [--page borel_hidden_holes.html] [--no-save]

Runs are of `train borel task=hidden_holes`; their last weights act in holes that nobody trained on, the same
for every number of steps. Of several runs the trials are pooled; intervals are Wilson 95 %. Second episodes
begin with what the first one felt, whether it found the hole or not.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from cells import percent, pooled
from omegaconf import OmegaConf
from pages import save_page
from results import save_result

from robofb.charts import Line, line_chart
from robofb.evaluate_belief import OWN, agents_of
from robofb.evaluate_trials import evaluate_trials
from robofb.families import build_family, draw_tasks
from robofb.loading import make_tasks_env, policy_of, task_node
from robofb.report import section
from robofb.run import Run
from robofb.store.checks import check_same_spec

TASK, EPISODES, SEED = "hidden_holes", 2, 80_000_000
ENGINE = OmegaConf.create({"_target_": "robofb.sim.mujoco_engine.MujocoEngine", "_partial_": True})
COMPARED = (OWN, "posterior sampling", "oracle")


@torch.no_grad()
def judged(run: Run, steps: int, trials: int) -> list[dict[str, Any]]:
    """Return how many first and second episodes succeed within so many steps, of each who acts."""
    policy = policy_of(run.load_checkpoint("latest"))
    task = OmegaConf.merge(task_node(TASK), {"max_steps": steps})
    family = build_family(task)
    check_same_spec(policy.spec, family.spec.only(policy.spec.obs), f"the policy in {run.path}")
    seed = SEED + int(run.config["seed"])
    params = draw_tasks(family, trials, seed, held_out=True)
    with closing(make_tasks_env(task, ENGINE, params)) as env:
        agents = agents_of(policy, family, env.num_envs)
        found = {name: evaluate_trials(agents[name], env, params, EPISODES, seed) for name in COMPARED}
    return [
        {"seed": run.config["seed"], "steps": steps, "who": name, "which": f"episode {index + 1}"}
        | {"successes": int(count), "episodes": trials}
        for name, each in found.items()
        for index, count in enumerate(each.success.sum(0))
    ]


def chart(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the body of a page: success against the steps that an episode may take."""
    lines = []
    for who, which in pooled(rows, ("who", "which")):
        own = [row for row in rows if (row["who"], row["which"]) == (who, which)]
        rates = pooled(own, ("steps",))
        steps, found = [key[0] for key in rates], list(rates.values())
        ends = [each.low for each in found], [each.high for each in found]
        lines.append(Line(f"{who}, {which}", steps, [each.rate for each in found], *ends))
    body = line_chart(lines, "steps that an episode may take")
    return section("Finding a hole, and finding it again", "Wilson 95 % intervals", body)


def main() -> None:
    """Judge every run with each number of steps, print a line each, write the chart, and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 10, 12, 14, 16, 20, 24, 32, 40])
    parser.add_argument("--trials", type=int, default=512, help="of each run")
    parser.add_argument("--page", type=Path, default=Path("runs/borel_hidden_holes.html"))
    parser.add_argument("--no-save", action="store_true", help="leave results and docs as they are")
    args = parser.parse_args()
    runs, rows = [Run.open(path) for path in args.runs], []
    for steps in args.steps:
        found = [row for run in runs for row in judged(run, steps, args.trials)]
        rates = pooled(found, ("who", "which"))
        told = (f"{who}, {which} {percent(rate)}" for (who, which), rate in rates.items())
        print(f"{steps} steps: {'; '.join(told)}", flush=True)
        rows += found
    save_page(args.page, "Hidden holes", chart(rows), "" if args.no_save else "borel_hidden_holes")
    if not args.no_save:
        save_result("borel_hidden_holes", {"rows": rows})


if __name__ == "__main__":
    main()
