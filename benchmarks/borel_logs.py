"""Runs of `train borel` with the logs that they learnt from, for benchmarks that look at beliefs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from results import save_result

from robofb.rl.histories import Histories, load_histories
from robofb.run import Run
from robofb.store.agent_logs import AgentLogs


def compare_runs(
    name: str,
    doc: str | None,
    trials: int,
    shown: Sequence[str],
    read: Callable[[Run, Histories, int], dict[str, Any]],
    text: Callable[[Path, dict[str, Any]], str],
) -> None:
    """Read the runs that the command line names, print a text of each, and save all.

    Args:
        name: of the results.
        doc: of the command.
        trials: of each task, unless the command line says otherwise.
        shown: settings of a run that are saved beside what was read.
        read: what is found in a run with its logs and so many trials.
        text: of what was found in the run at a path.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--trials", type=int, default=trials, help="of each task")
    parser.add_argument("--no-save", action="store_true", help="leave results as they are")
    args = parser.parse_args()
    results = []
    for path in args.runs:
        run = Run.open(path)
        with AgentLogs(run.config["logs"]) as logs:
            histories = load_histories(logs)
        found = read(run, histories, args.trials)
        print(text(path, found))
        results.append({"settings": {key: run.config.get(key) for key in shown}, **found})
    if not args.no_save:
        save_result(name, {"runs": results})
