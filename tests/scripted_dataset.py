"""Episodes of the scripted expert with full simulator states, played once for all tests."""

import functools
import sys
from dataclasses import replace
from pathlib import Path

from robofb.envs import make_task
from robofb.sim.recorded import RecordedScene
from robofb.store.episodes import EpisodeStore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from scripted import record_scripted


@functools.cache
def played():
    """Return the spec, and three episodes with the expert's phases."""
    return record_scripted(3)


@functools.cache
def task_scene() -> RecordedScene:
    """Return the scene of the episodes' task."""
    return RecordedScene(make_task("one_leg_insert").build())


def write_dataset(path, num_episodes: int = 3, keys: tuple[str, ...] = ("state", "sim_state")) -> Path:
    """Write the first episodes, with some of their observations, into a new dataset."""
    spec, episodes = played()
    with EpisodeStore.create(path, spec.only(keys)) as store:
        for episode, _ in episodes[:num_episodes]:
            store.append(replace(episode, obs={key: episode.obs[key] for key in keys}))
    return path
