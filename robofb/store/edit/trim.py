"""Cut steps off the ends of episodes: a fixed number, or those in which nothing moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.progress import progress_bar
from robofb.store.bottlenecks import BOTTLENECKS, bottlenecks_meta, load_bottlenecks
from robofb.store.edit.plan import Piece, Plan, make_plan
from robofb.store.element_names import WIDTH, find_hand
from robofb.store.episodes import EpisodeStore

HAND_SIZE_M = 0.1  # a turning hand moves the points this far from its origin


def trim(
    store: EpisodeStore, out: Path, head: int = 0, tail: int = 0, idle_m_per_s: float | None = None
) -> Plan:
    """Plan a dataset of the same episodes without some steps at their ends.

    What any of the three cuts is gone. An episode that loses its last step is no longer `terminated`;
    `success` stays, being the verdict on what was recorded. Bottleneck marks move along, and go with the
    steps they mark.

    Args:
        store: dataset to read.
        out: folder of the new one.
        head: steps to cut at the beginning of each episode.
        tail: steps to cut at the end of each.
        idle_m_per_s: cut steps at both ends during which neither hand nor fingers move faster, see
            `moving_steps`; None cuts none.

    Raises:
        UserError: nothing to cut, a negative number, an episode of which nothing would be left, or a dataset
            that does not name the hand's position.
    """
    if head < 0 or tail < 0:
        raise UserError(f"--head {head}, --tail {tail}: neither can be negative")
    if idle_m_per_s is not None and not 0.0 <= idle_m_per_s < np.inf:
        raise UserError(f"--idle {idle_m_per_s}: needs a speed of 0 m/s or more")
    if not head and not tail and idle_m_per_s is None:
        raise UserError("trim needs --head, --tail or --idle")
    pieces, notes = [], []
    with progress_bar(len(store), "looking at episodes", "episode", delay_s=2.0) as bar:
        for number, length in enumerate(store.episode_lengths.tolist()):
            start, stop = head, length - tail
            if idle_m_per_s is not None:
                moving = moving_steps(store, number, idle_m_per_s)
                start, stop = max(start, moving[0]), min(stop, moving[1])
            if start >= stop:
                raise UserError(
                    f"{store.path}: nothing would be left of episode {number}, {length} steps: drop it first"
                )
            pieces.append(Piece(store, number, start, stop, _changes(store, number, start, stop)))
            if stop - start < length:
                notes.append(f"episode {number}: keeps steps {start}-{stop - 1} of 0-{length - 1}")
            bar.update()
    arguments = {"head": head, "tail": tail, "idle_m_per_s": idle_m_per_s}
    return make_plan(out, pieces, [store], "trim", arguments, notes or ["no episode loses a step"])


def _changes(store: EpisodeStore, number: int, start: int, stop: int) -> dict[str, Any]:
    """Return what else becomes of an episode's facts when only steps start .. stop - 1 are kept."""
    entry = store.entries[number]
    changes: dict[str, Any] = {}
    if stop < store.episode_lengths[number]:
        changes["terminated"] = False
    if BOTTLENECKS in entry.meta:
        try:
            marks = load_bottlenecks(entry.meta, int(store.episode_lengths[number]))
        except UserError as error:
            raise UserError(
                f"{store.path}: meta bottlenecks of episode {number} is not sound: {error}"
            ) from None
        kept = [mark for mark in marks if start <= mark.step <= stop]  # of observations, 0..T
        changes["meta"] = bottlenecks_meta(replace(mark, step=mark.step - start) for mark in kept)
    return changes


def moving_steps(store: EpisodeStore, episode: int, speed_m_per_s: float) -> tuple[int, int]:
    """Return the first step of an episode in which the hand moves, and the one after the last.

    A step is idle where the hand's origin, and two points of it 0.1 m away along its first two axes,
    where its 6D rotation is recorded, and the gripper's width, where it is, all move no faster than
    `speed_m_per_s` by the true timestamps. (0, 0) where every step is idle.

    Raises:
        UserError: no observation has elements named ee_pos_<frame>_x, _y and _z.
    """
    hand = find_hand(store.spec)
    if hand is None:
        raise UserError(
            f"--idle: {store.path} names no elements ee_pos_<frame>_x, _y and _z; use --head and --tail"
        )
    key, pose = hand
    names = store.spec.obs[key].names
    rows = store.observations(key, episode).astype(np.float64)
    duration_s = np.diff(store.observations("timestamp", episode))
    position = rows[:, pose.position]
    points = [position]
    if pose.rotation:
        axes = rows[:, pose.rotation]
        points += [position + HAND_SIZE_M * axes[:, :3], position + HAND_SIZE_M * axes[:, 3:]]
    moved_m = [np.linalg.norm(np.diff(point, axis=0), axis=1) for point in points]
    if WIDTH in names:
        moved_m.append(np.abs(np.diff(rows[:, names.index(WIDTH)])))
    moving = np.flatnonzero(np.max(moved_m, axis=0) > speed_m_per_s * duration_s)
    return (int(moving[0]), int(moving[-1]) + 1) if len(moving) else (0, 0)
