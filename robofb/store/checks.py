"""What an episode must be before it may enter a dataset. Every refusal is one line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robofb.errors import UserError
from robofb.types import SOURCE_NAMES, ArraySpec, EnvSpec, Episode


def check_episode(episode: Episode, spec: EnvSpec) -> None:
    """Raise UserError unless an episode fits a spec and holds only sound values."""
    num_steps = len(episode)
    if num_steps < 1:
        raise UserError("episode has no action: it needs at least one step")
    for name in ("success", "terminated"):
        if not isinstance(getattr(episode, name), bool | np.bool_):
            raise UserError(f"{name} is {getattr(episode, name)!r}, expected True or False")
    if set(episode.obs) != set(spec.obs):
        raise UserError(f"episode has observations {sorted(episode.obs)}, the dataset {sorted(spec.obs)}")
    for key, array in spec.obs.items():
        _check_array(f"observation '{key}'", episode.obs[key], num_steps + 1, array.shape, array.dtype)
    _check_array("action", episode.action, num_steps, spec.action.shape, spec.action.dtype)
    _check_array("reward", episode.reward, num_steps, (), "float32")
    _check_array("timestamps", episode.timestamps, num_steps + 1, (), "float64")
    _check_array("source", episode.source, num_steps, (), "uint8")
    backwards = np.flatnonzero(np.diff(episode.timestamps) < 0)
    if len(backwards):
        step = int(backwards[0]) + 1
        before, after = episode.timestamps[step - 1 : step + 1]
        raise UserError(f"timestamps decrease at step {step}: {before:.6f} s, then {after:.6f} s")
    unknown = np.flatnonzero(episode.source >= len(SOURCE_NAMES))
    if len(unknown):
        step = int(unknown[0])
        raise UserError(f"source at step {step} is {episode.source[step]}; valid: 0..{len(SOURCE_NAMES) - 1}")


def _check_array(name: str, array: np.ndarray, rows: int, shape: tuple[int, ...], dtype: str) -> None:
    array = np.asarray(array)
    if array.dtype != np.dtype(dtype):
        raise UserError(f"{name} has dtype {array.dtype}, expected {dtype}")
    if array.shape != (rows, *shape):
        raise UserError(f"{name} has shape {array.shape}, expected {(rows, *shape)}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        step = int(np.argwhere(~np.isfinite(array))[0][0])
        raise UserError(f"{name} holds NaN or infinity at step {step}")


def check_finite(
    key: str, rows: np.ndarray, lengths: np.ndarray, episodes: Sequence[int], where: str
) -> None:
    """Raise UserError naming the episode and step of the first NaN or infinity in stored steps.

    Args:
        key: name of the array.
        rows: (sum of lengths, ...) steps of the episodes, one after another.
        lengths: steps of each episode.
        episodes: number of each episode.
        where: name of the dataset, for the message.
    """
    if rows.dtype.kind != "f" or np.isfinite(rows).all():
        return
    row = int(np.argwhere(~np.isfinite(rows))[0][0])
    ends = np.cumsum(lengths)
    place = int(np.searchsorted(ends, row, side="right"))
    step = row - int(ends[place] - lengths[place])
    raise UserError(f"{where}: {key} holds NaN or infinity in episode {episodes[place]}, step {step}")


def check_same_spec(stored: EnvSpec, wanted: EnvSpec, where: str) -> None:
    """Raise UserError naming the first thing in which two specs differ.

    Args:
        stored: what `where` was made with.
        wanted: what the caller needs.
        where: name of the dataset, run or file, for the message.
    """
    if stored.task != wanted.task:
        raise UserError(f"{where} holds task '{stored.task}', not '{wanted.task}'")
    if set(stored.obs) != set(wanted.obs):
        raise UserError(f"{where} holds observations {sorted(stored.obs)}, not {sorted(wanted.obs)}")
    for key in stored.obs:
        _check_same_array(f"observation '{key}'", stored.obs[key], wanted.obs[key], where)
    _check_same_array("action", stored.action, wanted.action, where)
    if abs(stored.control_dt - wanted.control_dt) > 1e-6:
        raise UserError(f"{where} holds control_dt {stored.control_dt} s, not {wanted.control_dt} s")


def _check_same_array(name: str, stored: ArraySpec, wanted: ArraySpec, where: str) -> None:
    for field in ("shape", "dtype", "unit", "names"):
        found, expected = getattr(stored, field), getattr(wanted, field)
        if found != expected:
            raise UserError(f"{where} holds {name} with {field} {found}, not {expected}")
