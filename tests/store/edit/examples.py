"""Datasets to edit, and how to compare what comes out."""

from pathlib import Path

from episode_examples import SPEC, assert_same, make_episode

from robofb.store.edit.plan import CAME_FROM, Plan, write
from robofb.store.episodes import EpisodeStore
from robofb.store.lock import LOCK_FILE


def make_dataset(folder, numbers, meta=None, lengths=None) -> EpisodeStore:
    """Return a dataset of example episodes, open to read."""
    with EpisodeStore.create(folder, SPEC, meta) as store:
        for place, number in enumerate(numbers):
            store.append(make_episode(number, lengths[place] if lengths else None))
    return EpisodeStore.open(folder)


def made(plan: Plan) -> EpisodeStore:
    """Carry a plan out and return its dataset, open to read."""
    write(plan)
    return EpisodeStore.open(plan.out)


def assert_same_but_origin(found, expected) -> None:
    """Fail unless two episodes are equal bit for bit, but for where they came from."""
    for episode in (found, expected):
        object.__setattr__(episode, "meta", {k: v for k, v in episode.meta.items() if k != CAME_FROM})
    assert_same(found, expected)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a dataset but its lock."""
    files = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != LOCK_FILE]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
