"""Success, wall time and memory of the whole quickstart, over several seeds.

python benchmarks/quickstart.py [--seeds 0 1 2 3 4] [--out runs/quickstart-benchmark]

Each seed runs `robofb quickstart` in a process of its own, in turn; a finished one is read again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cells import percent
from results import save_result

from robofb.run import is_run
from robofb.stats import SuccessRate

MOST_MINUTES, MOST_GB, LEAST_SUCCESS = 12.0, 3.0, 0.95


def run_seed(seed: int, out: Path) -> dict[str, Any]:
    """Run the pipeline of one seed, unless it is done, and return its figures."""
    if "paired" not in _summary(out):
        where = [f"resume={out}"] if is_run(out) else [f"seed={seed}", f"out={out}"]
        command = [sys.executable, "-m", "robofb.cli", "quickstart", *where]
        subprocess.run(command, check=True)
    summary = _summary(out)
    training = json.loads((out / "residual/summary.json").read_text())["residual_training"]
    return {
        "seed": seed,
        "bc": summary["bc"],
        "residual": summary["residual"],
        "minutes": summary["seconds"]["total"] / 60,
        "seconds": summary["seconds"],
        "peak_memory_gb": summary["peak_memory_gb"],
        "env_steps": training["env_steps"],
        "training_share_by_part": training["share_by_part"],
    }


def _summary(out: Path) -> dict[str, Any]:
    path = out / "summary.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def _percent(values: dict[str, Any]) -> str:
    return percent(SuccessRate(values["successes"], values["episodes"]))


def table(rows: list[dict[str, Any]]) -> str:
    """Return the README's table."""
    lines = [
        "| seed | diffusion policy, % | with residual, % | minutes | memory, GB |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['seed']} | {_percent(row['bc'])} | {_percent(row['residual'])} "
            f"| {row['minutes']:.1f} | {row['peak_memory_gb']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the seeds, print the table, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart-benchmark"))
    args = parser.parse_args()
    rows = [run_seed(seed, args.out / f"s{seed}") for seed in args.seeds]
    print(table(rows))
    save_result(
        "quickstart",
        {
            "seeds": rows,
            "all_reach_95_percent": all(
                row["residual"]["successes"] >= LEAST_SUCCESS * row["residual"]["episodes"] for row in rows
            ),
            "all_intervals_apart": all(row["residual"]["low"] > row["bc"]["high"] for row in rows),
            "all_within_12_minutes": all(row["minutes"] <= MOST_MINUTES for row in rows),
            "all_within_3_gb": all(row["peak_memory_gb"] < MOST_GB for row in rows),
        },
    )


if __name__ == "__main__":
    main()
