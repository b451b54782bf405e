"""Deployment: what the safety gate and the motion limiter cost, and a million chunks of nonsense.

python benchmarks/deploy.py [--chunks 1000000] [--no-save]

Chunks of 16 actions at 10 Hz, of three kinds in turns: as a policy makes them, with slips, and nonsense. A
plan that passes is held against the limits by scipy. Times are the thread's own on its processor, garbage
collection included; set-points are those of 100 Hz. A million chunks take some minutes.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from chunk_fuzz import slipped_chunk, some_start, sound_chunk, violations, wild_chunk
from results import save_result
from timing import percentiles

from robofb.deploy.limits import Limits
from robofb.deploy.motion import MotionLimiter
from robofb.deploy.pose import Pose
from robofb.deploy.safety import ChunkGate
from robofb.progress import progress_bar

ACTION_DT_S, SETPOINT_DT_S = 0.1, 0.01
_TIMED = 6000


def timed(function: Callable[..., object], *args: object) -> float:
    """Return how long a call kept its thread busy [s]: others' turns on the core do not count."""
    started = time.thread_time()
    function(*args)
    return time.thread_time() - started


def time_gate(limits: Limits, seed: int = 0) -> dict[str, Any]:
    """Time checks of each kind of chunk, in turns; "all" has as many of each."""
    generator, gate = np.random.default_rng(seed), ChunkGate(limits, ACTION_DT_S)
    kinds: dict[str, Callable[[Pose], object]] = {
        "sound": lambda start: sound_chunk(generator, start, limits, ACTION_DT_S),
        "slipped": lambda start: slipped_chunk(generator, start),
        "wild": lambda start: wild_chunk(generator, start),
    }
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(_TIMED // len(kinds)):
        start = some_start(generator, limits)
        for name, make in kinds.items():
            chunk = make(start)
            seconds[name].append(timed(gate.check, chunk, start))
    of_all = percentiles([each for several in seconds.values() for each in several])
    return {"all": of_all, **{name: percentiles(each) for name, each in seconds.items()}}


def time_motion(limits: Limits, seed: int = 0) -> dict[str, float]:
    """Time set-points toward targets that leap about."""
    generator = np.random.default_rng(seed)
    limiter, seconds = MotionLimiter(limits, SETPOINT_DT_S, some_start(generator, limits)), []
    for count in range(_TIMED):
        if count % 20 == 0:
            target = some_start(generator, limits)
        seconds.append(timed(limiter.step, target))
    return percentiles(seconds)


def fuzz(limits: Limits, chunks: int, seed: int = 1) -> dict[str, Any]:
    """Check chunks, nine in ten of them slipped or wild; return counts, and of what is wrong with plans."""
    generator, gate = np.random.default_rng(seed), ChunkGate(limits, ACTION_DT_S)
    wrong: Counter[str] = Counter()
    start = some_start(generator, limits)
    with progress_bar(chunks, "fuzz", "chunk") as bar:
        for number in range(chunks):
            if number % 10 == 0:
                start = some_start(generator, limits)
                chunk: object = sound_chunk(generator, start, limits, ACTION_DT_S)
            else:
                chunk = (slipped_chunk if number % 2 else wild_chunk)(generator, start)
            plan = gate.check(chunk, start).plan
            if plan is not None:
                wrong.update(violations(plan, start, limits, ACTION_DT_S))
            bar.update()
    return {"chunks": chunks, "violations": sum(wrong.values()), "wrong": dict(wrong), **dict(gate.counts)}


def main() -> None:
    """Time, then fuzz; print a line each, and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chunks", type=int, default=1_000_000, help="of nonsense")
    parser.add_argument("--no-save", action="store_true", help="leave results as they are")
    args = parser.parse_args()
    limits = Limits()
    gate, motion, found = time_gate(limits), time_motion(limits), fuzz(limits, args.chunks)
    figures = {"gate_p99_us": gate["all"]["p99_us"], "gate": gate, "motion": motion, "fuzz": found}
    for name, facts in (*gate.items(), ("motion", motion)):
        print(f"{name}: median {facts['p50_us']:.0f} us, 99 % below {facts['p99_us']:.0f} us")
    print(f"{found['violations']} violations left the gate in {found['chunks']} chunks")
    if not args.no_save:
        save_result("deploy", figures)


if __name__ == "__main__":
    main()
