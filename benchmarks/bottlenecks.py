"""Bottlenecks found by rule against the moments at which the scripted expert changes what it does.

python benchmarks/bottlenecks.py [--episodes 100] [--noise 1.0]

The truth of an episode are the first actions of the phases CLOSE (grasp), ALIGN (over the hole) and INSERT.
A mark within k steps of a moment not yet taken is right, nearest pairs first; precision counts marks,
recall moments.
"""

from __future__ import annotations

import argparse

from results import save_result
from scripted import record_scripted

from robofb.augment.bottlenecks import RULES, find_bottlenecks
from robofb.envs import make_task
from robofb.envs.furniture.one_leg_insert_expert import Phase
from robofb.sim.recorded import RecordedScene

TRUTH = {"grasp": Phase.CLOSE, "align": Phase.ALIGN, "insert": Phase.INSERT}
WITHIN_STEPS = (2, 5, 8)


def matches(marks: list[int], truth: list[int], within: int) -> list[tuple[int, int]]:
    """Return disjoint pairs (mark, moment) at most `within` steps apart, nearest first."""
    near = sorted((abs(a - b), a, b) for a in marks for b in truth if abs(a - b) <= within)
    pairs: list[tuple[int, int]] = []
    for _, mark, moment in near:
        if mark not in [a for a, _ in pairs] and moment not in [b for _, b in pairs]:
            pairs.append((mark, moment))
    return pairs


def main() -> None:
    """Measure every rule and save the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--noise", type=float, default=1.0)
    options = parser.parse_args()
    spec, played = record_scripted(options.episodes, noise=options.noise)
    scene = RecordedScene(make_task(spec.task).build())
    solved = [(episode, phases) for episode, phases in played if episode.success]
    figures: dict[str, dict] = {}
    for rule in (*RULES, "auto"):
        marks = [[mark.step for mark in find_bottlenecks(e, spec, rule, scene)] for e, _ in solved]
        truth = [[phases.index(phase) for phase in TRUTH.values() if phase in phases] for _, phases in solved]
        count = sum(map(len, marks))
        figures[rule] = {"marks_per_episode": count / len(solved)}
        for within in WITHIN_STEPS:
            pairs = [matches(found, real, within) for found, real in zip(marks, truth, strict=True)]
            right = sum(map(len, pairs))
            hit: dict[str, float] = {}
            for name, phase in TRUTH.items():
                have = [i for i, (_, phases) in enumerate(solved) if phase in phases]
                hits = sum(any(b == solved[i][1].index(phase) for _, b in pairs[i]) for i in have)
                hit[name] = hits / len(have)
            figures[rule][f"within_{within}"] = {
                "precision": right / count,
                "recall": right / sum(map(len, truth)),
                "recall_by_moment": hit,
            }
    save_result("bottlenecks", {"episodes": len(solved), "noise": options.noise, "rules": figures})


if __name__ == "__main__":
    main()
