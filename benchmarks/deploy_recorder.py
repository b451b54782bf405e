"""The recorder's memory: over one long attempt with pictures, and over many short episodes.

python benchmarks/deploy_recorder.py [--steps 3000] [--size 240 320] [--episodes 3000] [--no-save]

Its process is the real one. It is shown control steps faster than they come in a deployment: pictures of
noise, which no codec makes smaller, one a step; then episodes of a few steps without pictures.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from processes import memory_mb
from results import save_result

from robofb.deploy.live.bench import SEEN, image_specs
from robofb.deploy.live.crew import Crew, Job
from robofb.deploy.live.draft import recorded_spec
from robofb.deploy.live.fake import SPEC
from robofb.deploy.live.recorder_process import RecordSetup, run_recorder
from robofb.deploy.live.records import MODES, Rings
from robofb.deploy.modes import Mode
from robofb.store.index import INDEX_FILE

TICKS_A_STEP = 5
STEP_S = 0.02
SHORT_STEPS = 5
SETTLED = 0.5  # of the short episodes, after which growth is that of each one more


class Shown:
    """A recorder's process, and what it is shown.

    Args:
        rings: of a deployment whose only process is the recorder.
        crew: of it.
    """

    def __init__(self, rings: Rings, crew: Crew) -> None:
        self.rings, self.pid = rings, crew.pids["recorder"]
        self._blank = dict.fromkeys(rings.ticks.dtype.names or (), 0)
        self._draws = np.random.default_rng(0)
        self.saved, self.time_s, self.saving_s = 0, 0.0, 0.0
        self._pictures: list[int] = []  # their numbers in the rings, newest of each camera

    def order(self, kind: str, what: str, episode: int) -> None:
        """Begin or end an episode."""
        self.rings.orders.write(
            kind=kind.encode(), what=what.encode(), episode=episode, seed=episode, reason=b"a person"
        )

    def step(self, episode: int) -> None:
        """Show one control step of an episode, with a picture of every camera."""
        self._pictures = []
        for ring in self.rings.frames.values():
            image = self._draws.integers(0, 256, ring.dtype["image"].shape, np.uint8)
            stamp_s = time.monotonic()
            self._pictures.append(
                ring.write(sequence=0, captured_s=stamp_s, digest=0, rendered=0, image=image)
            )
        for part in range(TICKS_A_STEP):
            self._tick(episode, part == 0)

    def _tick(self, episode: int, is_step: bool) -> None:
        self.time_s += 0.1 / TICKS_A_STEP
        facts = {"time_s": self.time_s, "wall_s": time.monotonic(), "mode": MODES.index(Mode.POLICY)}
        pose = [0.4, 0.0, 0.2, 0.0, 1.0, 0.0, 0.0, -1.0]
        more = {"is_step": is_step, "episode": episode, "sent": pose, "pose": pose, "reason": b""}
        more["pictures"] = self._pictures
        self.rings.ticks.write(**{**self._blank, **facts, **more})

    def play(self, episode: int, steps: int, pause_s: float) -> None:
        """Show a whole episode and wait until it is saved; the tick after it ends it."""
        self.order("begin", "", episode)
        time.sleep(pause_s)
        for _ in range(steps):
            self.step(episode)
            time.sleep(pause_s)
        self.order("end", "success", episode)
        time.sleep(pause_s)
        self._tick(episode + 1, False)
        ended_s = time.monotonic()
        while (newest := self.rings.recorded.latest()) is None or newest.number <= self.saved:
            time.sleep(0.002)
        self.saved, self.saving_s = self.saved + 1, time.monotonic() - ended_s
        if not newest.value["saved"]:
            raise SystemExit(f"episode {episode} was dropped: {newest.value['word']}")


@contextmanager
def recorder(folder: Path, size: tuple[int, int] | None) -> Iterator[Shown]:
    """Start a recorder of a new dataset, with a camera of that size or none."""
    cameras = {} if size is None else {"front": size}
    spec = recorded_spec(SPEC.with_obs({**SPEC.obs, **image_specs(cameras)}))
    rings = Rings(len(SEEN), cameras, ["recorder"])
    try:
        job = Job(run_recorder, RecordSetup(folder / "data", spec), 60.0, leave_s=600.0)
        crew = Crew({"recorder": job}, rings.beats, rings.addresses)
        crew.start()
        while not crew.lives("recorder"):
            crew.check()
            time.sleep(0.05)
        try:
            yield Shown(rings, crew)
        finally:
            rings.orders.write(kind=b"quit", what=b"", episode=-1, seed=0, reason=b"")
            crew.end()
    finally:
        rings.close()


class Watcher(threading.Thread):
    """Notes the most memory of its own that a process holds, until `stop`."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._pid, self._over, self.most_mb = pid, threading.Event(), 0.0
        self.start()

    def run(self) -> None:
        """Look a hundred times a second."""
        while not self._over.wait(0.01):
            self.most_mb = max(self.most_mb, memory_mb(self._pid) or 0.0)

    def stop(self) -> float:
        """Return what was the most [MB]."""
        self._over.set()
        self.join()
        return self.most_mb


def long_attempt(folder: Path, size: tuple[int, int], steps: int) -> dict[str, Any]:
    """Return what one attempt with pictures takes of the recorder's own memory, at most and afterwards."""
    with recorder(folder, size) as shown:
        shown.play(0, 20, STEP_S)
        before_mb, watcher = memory_mb(shown.pid), Watcher(shown.pid)
        shown.play(1, steps, STEP_S)
        most_mb = watcher.stop()
        time.sleep(1.0)
        return {
            "steps": steps,
            "pictures_mb": steps * 3 * size[0] * size[1] / 2**20,
            "before_mb": before_mb,
            "most_mb": most_mb,
            "afterwards_mb": memory_mb(shown.pid),
            "saving_s": shown.saving_s,
        }


def many_episodes(folder: Path, episodes: int) -> dict[str, Any]:
    """Return how a recorder grows from episode to episode [bytes]."""
    sizes = []
    with recorder(folder, None) as shown:
        for episode in range(episodes):
            shown.play(episode, SHORT_STEPS, 0.0)
            sizes.append((episode, memory_mb(shown.pid) or 0.0))
    numbers, held_mb = np.array(sizes[round(SETTLED * episodes) :]).T
    slope_mb = float(np.polyfit(numbers, held_mb, 1)[0])
    index = (folder / "data" / INDEX_FILE).stat().st_size
    every = [round(size, 1) for _, size in sizes[:: max(1, episodes // 20)]]
    return {
        "episodes": episodes,
        "growth_bytes": slope_mb * 2**20,
        "index_bytes": index / episodes,
        "held_mb": every,
    }


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320))
    parser.add_argument("--episodes", type=int, default=3000)
    parser.add_argument("--no-save", action="store_true", help="leave results as they are")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        found["long"] = long_attempt(Path(folder), tuple(args.size), args.steps)
    with TemporaryDirectory() as folder:
        found["short"] = many_episodes(Path(folder), args.episodes)
    print(json.dumps(found, indent=1))
    if not args.no_save:
        save_result("deploy_recorder", found)


if __name__ == "__main__":
    main()
