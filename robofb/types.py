"""Plain data that every part of robofb exchanges. No behaviour beyond validation and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from robofb.checked_json import all_text, entry, is_number, is_plain_dtype, is_whole

Obs = dict[str, Tensor]
"""Observations by key: "state" (B, D) float32; images (B, C, H, W) uint8."""

SIM_STATE = "sim_state"
"""Key of the simulator's full state (S,) float64, which a recording may hold beside what policies see."""

PRIVILEGED = "privileged"
"""Key of what only a teacher may see (P,) float32, such as where a goal is hidden."""

MAX_ELEMENTS = 2**31
"""Elements that one observation or action may have, so that a damaged spec asks for no absurd memory."""


@dataclass(frozen=True)
class ArraySpec:
    """Describe one array of an observation or an action, without its batch axis.

    Attributes:
        shape: sizes of the axes after the batch axis.
        dtype: numpy name of the element type.
        unit: SI unit of every element, or a short sentence where elements differ.
        low: smallest allowed value per element (flattened), or None where unbounded.
        high: largest allowed value per element (flattened), or None where unbounded.
        names: one name per element (flattened), quantity_frame_axis, or empty.

    Raises:
        ValueError: names the field that is not sound.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    unit: str = ""
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(is_whole(size) and size > 0 for size in self.shape):
            raise ValueError(f"shape {list(self.shape)}: needs whole numbers above 0")
        size = math.prod(self.shape)
        if size > MAX_ELEMENTS:
            raise ValueError(f"shape {list(self.shape)}: more than {MAX_ELEMENTS} elements")
        if not is_plain_dtype(self.dtype):
            raise ValueError(f"dtype {self.dtype!r}: needs the name of a number's type, such as float32")
        if not all_text((self.unit, *self.names)):
            raise ValueError(f"unit {self.unit!r}, names {list(self.names)}: needs text")
        if not all(is_number(bound) for bound in (*(self.low or ()), *(self.high or ()))):
            raise ValueError("low and high: need numbers")
        for label in ("low", "high", "names"):
            values = getattr(self, label)
            if values and len(values) != size:
                raise ValueError(f"ArraySpec.{label} has {len(values)} entries for {size} elements")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values; `from_dict` restores an equal spec."""
        return {
            "shape": list(self.shape),
            "dtype": self.dtype,
            "unit": self.unit,
            "low": None if self.low is None else list(self.low),
            "high": None if self.high is None else list(self.high),
            "names": list(self.names),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ArraySpec:
        """Build a spec from the output of `to_dict`; raises ValueError naming the key that is not sound."""
        low, high = (entry(values, key, (list, tuple, type(None))) for key in ("low", "high"))
        return cls(
            shape=tuple(entry(values, "shape", (list, tuple))),
            dtype=entry(values, "dtype", str),
            unit=entry(values, "unit", str),
            low=None if low is None else tuple(low),
            high=None if high is None else tuple(high),
            names=tuple(entry(values, "names", (list, tuple))),
        )


def num_choices(action: ArraySpec) -> int | None:
    """Return n where an action is one of n choices, None where it is continuous.

    A choice is one whole number in 0..n-1: shape (1,), dtype int64, low 0, high n - 1.
    """
    if np.dtype(action.dtype).kind != "i":
        return None
    if action.shape != (1,) or action.low != (0,) or action.high is None:
        raise ValueError(f"action of shape {list(action.shape)}: choices need shape [1], from 0 to n - 1")
    return int(action.high[0]) + 1


@dataclass(frozen=True)
class EnvSpec:
    """Describe what an environment shows and accepts.

    Attributes:
        task: name of the task, the same as its config.
        obs: spec of each observation key.
        action: spec of the action.
        control_dt: time between two actions [s].
        max_steps: actions after which an unfinished episode is truncated.
        stages: names of the steps towards success, in order; `info["stage"]` counts how many
            of them are reached. Empty where the task has none.

    Raises:
        ValueError: names the field that is not sound.
    """

    task: str
    obs: Mapping[str, ArraySpec]
    action: ArraySpec
    control_dt: float
    max_steps: int
    stages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not is_number(self.control_dt) or not 0.0 < self.control_dt < math.inf:
            raise ValueError(f"control_dt {self.control_dt!r}: needs a positive number of seconds")
        if not is_whole(self.max_steps) or self.max_steps < 1:
            raise ValueError(f"max_steps {self.max_steps!r}: needs a whole number of at least 1")
        if not all_text((self.task, *self.stages, *self.obs)):
            raise ValueError("task, stages and the keys of obs: need text")

    def with_obs(self, obs: Mapping[str, ArraySpec]) -> EnvSpec:
        """Return the same spec with other observations."""
        return replace(self, obs=dict(obs))

    def only(self, keys: Iterable[str]) -> EnvSpec:
        """Return the same spec without the observations that are not among `keys`."""
        wanted = set(keys)
        return self.with_obs({key: array for key, array in self.obs.items() if key in wanted})

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values; `from_dict` restores an equal spec."""
        return {
            "task": self.task,
            "obs": {key: spec.to_dict() for key, spec in self.obs.items()},
            "action": self.action.to_dict(),
            "control_dt": self.control_dt,
            "max_steps": self.max_steps,
            "stages": list(self.stages),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EnvSpec:
        """Build a spec from the output of `to_dict`; raises ValueError naming the key that is not sound."""
        return cls(
            task=entry(values, "task", str),
            obs={key: _array_spec(spec, key) for key, spec in entry(values, "obs", Mapping).items()},
            action=_array_spec(entry(values, "action", Mapping), "action"),
            control_dt=entry(values, "control_dt", Real),
            max_steps=entry(values, "max_steps", Integral),
            stages=tuple(entry(values, "stages", (list, tuple))),
        )


def _array_spec(values: Any, key: str) -> ArraySpec:
    try:
        return ArraySpec.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


class Score(NamedTuple):
    """Judge the present state of every world of a task.

    Attributes:
        achieved: (B,) float32, goals (such as assembled pairs) that hold now. `VecEnv` pays +1
            the first time each is reached in an episode.
        success: (B,) bool, the episode's goal is reached.
        failure: (B,) bool, the episode can no longer succeed.
        stage: (B,) int64, how many of `EnvSpec.stages` the present state has reached.
        metrics: further (B,) tensors, not negative; `Step.info` holds each one's maximum over the
            episode so far.
        reward: (B,) float32 that the control step earns, in place of what `achieved` does; None where
            only goals pay.
        ended: (B,) bool, the episode ends here; where None, success and failure end it. An episode that
            goes on after a success is one only if it succeeds in its last step.
    """

    achieved: Tensor
    success: Tensor
    failure: Tensor
    stage: Tensor
    metrics: dict[str, Tensor]
    reward: Tensor | None = None
    ended: Tensor | None = None


class Step(NamedTuple):
    """Return value of `VecEnv.step`.

    Attributes:
        obs: observations to act on next; of the new episode where one was reset.
        reward: (B,) float32.
        terminated: (B,) bool, ended by success, failure or else by the task: no value after it.
        truncated: (B,) bool, ended by the time limit: bootstrap from `final_obs`.
        final_obs: observations before the auto-reset; equal to `obs` where no episode ended.
        info: per-env tensors read before the auto-reset. Always "success" (B,) bool, "stage" (B,) int64
            best stage of the episode, "episode" (B,) int64 number of the episode that this step
            belonged to, "length" (B,) int64 steps of it so far.
    """

    obs: Obs
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    final_obs: Obs
    info: dict[str, Tensor]

    @property
    def done(self) -> Tensor:
        """(B,) bool, an episode ended with this step."""
        return self.terminated | self.truncated


class Batch(NamedTuple):
    """A training batch of action chunks.

    Attributes:
        obs: history of each observation key, (B, To, ...), oldest first.
        action: (B, H, A) float32 in environment units; row 0 is the action for the last
            observation of the history.
        mask: (B, H) bool, False where the chunk runs past its episode's end (the rows repeat
            the last action).
        weight: (B,) float32 sample weights.
    """

    obs: Obs
    action: Tensor
    mask: Tensor
    weight: Tensor


@dataclass(frozen=True)
class TeleopCommand:
    """What a person commands through a device at one moment.

    Attributes:
        twist: (6,) float64, the tool's linear [m/s] and angular [rad/s] velocity in the robot's base frame.
        gripper: 1 close, -1 open, 0 leave it as it is.
        engaged: the dead-man switch is held; without it nothing moves.
        event: one of `TELEOP_EVENTS` that happened since the last read, or "".
    """

    twist: np.ndarray
    gripper: float
    engaged: bool
    event: str = ""


TELEOP_EVENTS = ("start", "success", "discard", "undo", "pause", "quit")

SOURCE_HUMAN = 0
SOURCE_POLICY = 1
SOURCE_INTERVENTION = 2
SOURCE_AUGMENTED = 3
SOURCE_SCRIPTED = 4
SOURCE_NAMES = ("human", "policy", "intervention", "augmented", "scripted")


@dataclass(frozen=True)
class Episode:
    """One recorded episode of T actions, in numpy.

    Attributes:
        obs: each key (T + 1, ...): before every action, and after the last.
        action: (T, A) float32, environment units.
        reward: (T,) float32.
        terminated: whether the last step ended the episode by success or failure.
        success: whether the task was solved.
        timestamps: (T + 1,) float64, true capture time of each observation [s], increasing.
        source: (T,) uint8, who chose each action; one of the SOURCE_ flags.
        meta: JSON-ready facts (task, robot, seed, randomness, ...).
    """

    obs: Mapping[str, np.ndarray]
    action: np.ndarray
    reward: np.ndarray
    terminated: bool
    success: bool
    timestamps: np.ndarray
    source: np.ndarray
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.action)
