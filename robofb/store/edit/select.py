"""Put whole episodes together, share them out, and leave some out."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.store.checks import check_same_spec
from robofb.store.edit.numbers import format_numbers
from robofb.store.edit.plan import Plan, make_plan, whole
from robofb.store.episodes import EpisodeStore
from robofb.store.windows import rank_episodes

DEFAULT_NAMES = {2: ("train", "validation"), 3: ("train", "validation", "test")}


def merge(stores: Sequence[EpisodeStore], out: Path) -> Plan:
    """Plan a dataset of all episodes of several, one after another.

    Raises:
        UserError: fewer than two, one given twice, or two that differ in what they hold: names the first
            difference.
    """
    if len(stores) < 2:
        raise UserError(f"merge needs two datasets or more, not {len(stores)}")
    first, seen = stores[0], set()
    for store in stores:
        if store.path.resolve() in seen:
            raise UserError(f"{store.path} is given twice")
        seen.add(store.path.resolve())
        _check_mergeable(store, first)
    pieces = [whole(store, number) for store in stores for number in range(len(store))]
    notes = [f"{store.path}: {len(store)} episodes, {store.episode_lengths.sum()} steps" for store in stores]
    return make_plan(out, pieces, stores, "merge", {}, notes)


def _check_mergeable(store: EpisodeStore, first: EpisodeStore) -> None:
    check_same_spec(store.spec, first.spec, str(store.path))
    held, wanted = _further_facts(store), _further_facts(first)
    for name, value in wanted.items():
        if held[name] != value:
            raise UserError(f"{store.path} holds {name} {held[name]}, not {value}")


def _further_facts(store: EpisodeStore) -> dict[str, Any]:
    """Return what a policy can do without and a dataset cannot."""
    arrays = {**store.spec.obs, "action": store.spec.action}
    bounds = {f"bounds of {key}": (array.low, array.high) for key, array in arrays.items()}
    spec = {"max_steps": store.spec.max_steps, "stages": store.spec.stages}
    return {**spec, **bounds, "frames": store.meta.get("frames")}


def split(
    store: EpisodeStore, out_dir: Path, fractions: Sequence[float], names: Sequence[str], seed: int
) -> list[Plan]:
    """Plan one dataset for each fraction, in folders of `out_dir`; within each the order stays.

    Which episode goes where depends on the seed and its number alone, as in `split_episodes`.

    Args:
        store: dataset to share out.
        out_dir: folder of the new folders.
        fractions: share of the episodes for each; their sum is 1.
        names: folder of each; none for train, validation, test, or part0 and so on.
        seed: of the order in which episodes are shared out.

    Raises:
        UserError: fractions or names that make no sense, or fewer episodes than fractions.
    """
    if len(fractions) < 2 or not all(0.0 < share < 1.0 for share in fractions):
        raise UserError(f"--fractions {_joined(fractions)}: needs two or more, each above 0 and below 1")
    if not math.isclose(sum(fractions), 1.0, abs_tol=1e-6):
        raise UserError(f"--fractions {_joined(fractions)}: their sum is {sum(fractions):g}, it must be 1")
    folders = _folders(names, len(fractions))
    sizes = _sizes(len(store), fractions)
    order, plans = rank_episodes(len(store), seed), []
    ends = np.cumsum(sizes[::-1])[::-1]  # the last part takes the first of the order, as validation does
    for name, size, end in zip(folders, sizes, ends, strict=True):
        numbers = sorted(order[end - size : end])
        arguments = {"fractions": list(fractions), "seed": seed, "part": name}
        note = f"episodes {format_numbers(numbers)} of {store.path}"
        pieces = [whole(store, number) for number in numbers]
        plans.append(make_plan(out_dir / name, pieces, [store], "split", arguments, [note]))
    return plans


def _joined(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _folders(names: Sequence[str], count: int) -> Sequence[str]:
    if not names:
        return DEFAULT_NAMES.get(count) or [f"part{index}" for index in range(count)]
    if len(names) != count or len(set(names)) != count:
        raise UserError(f"--names {','.join(names)}: needs {count} different names, one for each fraction")
    for name in names:
        if name in ("", "..") or Path(name).name != name:
            raise UserError(f"--names {','.join(names)}: '{name}' is not the name of a folder")
    return names


def _sizes(num_episodes: int, fractions: Sequence[float]) -> list[int]:
    """Return how many episodes each fraction gets: at least one; 10 at 0.75, 0.25 are 8 and 2."""
    if num_episodes < len(fractions):
        raise UserError(f"{num_episodes} episodes cannot be split into {len(fractions)} parts")
    ends = [round(num_episodes * end) for end in np.cumsum(fractions[::-1])]
    sizes = np.diff([0, *ends[:-1], num_episodes])[::-1].tolist()
    while min(sizes) < 1:
        sizes[sizes.index(max(sizes))] -= 1
        sizes[sizes.index(min(sizes))] += 1
    return sizes


def drop(
    store: EpisodeStore,
    out: Path,
    numbers: Collection[int] = (),
    failed: bool = False,
    shorter_than: int | None = None,
    longer_than: int | None = None,
) -> Plan:
    """Plan a dataset without the episodes that fit one condition or more.

    Args:
        store: dataset to read.
        out: folder of the new one.
        numbers: episodes to leave out.
        failed: leave out those without success.
        shorter_than: leave out those of fewer steps.
        longer_than: leave out those of more steps.

    Raises:
        UserError: no condition, a negative length, or none or all of the episodes fit.
    """
    if not (len(numbers) or failed or shorter_than is not None or longer_than is not None):
        raise UserError("drop needs --episodes, --failed, --shorter-than or --longer-than")
    for option, steps in (("--shorter-than", shorter_than), ("--longer-than", longer_than)):
        if steps is not None and steps < 0:
            raise UserError(f"{option} {steps}: needs a number of steps, at least 0")
    lengths = store.episode_lengths
    gone = np.isin(np.arange(len(store)), list(numbers))
    if failed:
        gone |= ~store.successes
    if shorter_than is not None:
        gone |= lengths < shorter_than
    if longer_than is not None:
        gone |= lengths > longer_than
    if not gone.any():
        raise UserError(f"{store.path}: no episode fits: there is nothing to drop")
    if gone.all():
        raise UserError(f"{store.path}: all {len(store)} episodes would be dropped")
    dropped, kept = np.flatnonzero(gone).tolist(), np.flatnonzero(~gone).tolist()
    note = f"without episodes {format_numbers(dropped)} of {store.path} ({len(dropped)} of {len(store)})"
    pieces = [whole(store, number) for number in kept]
    return make_plan(out, pieces, [store], "drop", {"episodes": format_numbers(dropped)}, [note])
