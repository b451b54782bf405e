"""An arm at its workplace: what a policy sees there, when an episode begins and what became of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from robofb.deploy.arms.arm import ArmState, RobotArm
from robofb.deploy.arms.sim import SimArm
from robofb.deploy.limits import Limits
from robofb.deploy.pose import columns_of
from robofb.deploy.scene import MOST_NUMBERS, numbers_of
from robofb.deploy.tool_target import ACTION_NAMES
from robofb.errors import UserError
from robofb.types import ArraySpec, EnvSpec


class Bench(Protocol):
    """What a controller's process drives.

    Attributes:
        arm: itself.
        dt_s: between set-points.
    """

    arm: RobotArm
    dt_s: float

    def now_s(self) -> float:
        """Return the time of the arm's clock."""
        ...

    def begin(self, seed: int) -> None:
        """Begin an episode; a simulation draws its start from `seed`."""
        ...

    def observe(self, state: ArmState) -> np.ndarray:
        """Return what a policy sees beside pictures, (D,) float32."""
        ...

    def verdict(self) -> str:
        """Return "success" or "failure" where the task itself says that the episode is over; else ""."""
        ...

    def scene(self) -> np.ndarray:
        """Return the numbers (n,) that pictures of a simulated scene hang on; none of a real one."""
        ...


class RealBench:
    """A real arm: a policy sees what the arm says of itself, and persons say what became of an episode.

    Args:
        arm: the caller closes it.
        hz: set-points a second.
        names: of what a policy sees; see `SEEN`.

    Raises:
        UserError: an arm cannot say one of them.
    """

    def __init__(self, arm: RobotArm, hz: float, names: Sequence[str]) -> None:
        self.arm, self.dt_s = arm, 1.0 / hz
        check_names(names)
        self._names = tuple(names)

    def now_s(self) -> float:
        """Return the time of this machine."""
        return time.monotonic()

    def begin(self, seed: int) -> None:
        """Nothing: a person has set the scene up."""

    def observe(self, state: ArmState) -> np.ndarray:
        """Return what the arm says of itself, in the order of the names; 0 for what it does not say."""
        x, y, _ = columns_of(state.pose.turn)
        force = state.force_n or (0.0, 0.0, 0.0)
        seen = dict(zip(SEEN, (*state.pose.position_m, *x, *y, state.gripper, *force), strict=True))
        seen |= {f"joint_pos_{number}": angle for number, angle in enumerate(state.joints_rad)}
        return np.array([seen.get(name, 0.0) for name in self._names], np.float32)

    def verdict(self) -> str:
        """Return nothing: a person says it."""
        return ""

    def scene(self) -> np.ndarray:
        """Return nothing: cameras see it."""
        return np.zeros(0)


class SimBench:
    """A simulated task, which goes by its own clock: it stands still while nobody commands.

    Args:
        arm: the caller closes it.

    Raises:
        UserError: its scene has more numbers than can be told to cameras.
    """

    def __init__(self, arm: SimArm) -> None:
        if (count := len(numbers_of(arm.env.engine))) > MOST_NUMBERS:
            raise UserError(
                f"task {arm.env.spec.task}: its scene has {count} numbers, more than {MOST_NUMBERS}"
            )
        self.arm: RobotArm = arm
        self.dt_s, self._sim = arm.dt_s, arm
        self._before_s = 0.0

    def now_s(self) -> float:
        """Return the simulated time of all episodes together, so that it never goes back."""
        return self._before_s + self._sim.time_s

    def begin(self, seed: int) -> None:
        """Start the episode of a seed."""
        self._before_s = self.now_s() + self.dt_s
        self._sim.begin(seed)

    def observe(self, state: ArmState) -> np.ndarray:
        """Return the task's state after its last whole control step."""
        return self._sim.obs["state"][0].numpy()

    def verdict(self) -> str:
        """Return what the task says."""
        step = self._sim.step
        if step is None or not bool(step.done[0]):
            return ""
        return "success" if bool(step.info["success"][0]) else "failure"

    def scene(self) -> np.ndarray:
        """Return how the world stands now, within a control step as well."""
        return numbers_of(self._sim.env.engine)


CONTROL_HZ = (10.0, 1000.0)
"""Least and most set-points a second of a real arm."""

SEEN = (
    *(f"ee_pos_base_{axis}" for axis in "xyz"),
    *(f"ee_rot6d_base_{index}" for index in range(6)),
    "gripper",
    *(f"ee_force_base_{axis}" for axis in "xyz"),
)
"""Names of what an arm says: pose of its tool, gripper (-1 open .. 1 closed), force on the tool [N]."""


def arm_spec(
    task: str, limits: Limits, sizes: Mapping[str, tuple[int, int]], control_dt_s: float, max_steps: int
) -> EnvSpec:
    """Return what is seen of a real arm, and what it is told: poses of its tool within the limits' box.

    Args:
        task: its name.
        limits: of the arm.
        sizes: height and width [px] of each camera's pictures.
        control_dt_s: between two actions.
        max_steps: of an episode.
    """
    return EnvSpec(
        task,
        {
            "state": ArraySpec((len(SEEN),), unit="m (pos), 1 (rot6d, gripper), N (force)", names=SEEN),
            **image_specs(sizes),
        },
        ArraySpec(
            (len(ACTION_NAMES),),
            unit="m (pos), 1 (rot6d), -1 open .. 1 closed (gripper)",
            low=(*limits.low_m, *(-1.0,) * 7),
            high=(*limits.high_m, *(1.0,) * 7),
            names=ACTION_NAMES,
        ),
        control_dt_s,
        max_steps,
    )


def image_specs(sizes: Mapping[str, tuple[int, int]]) -> dict[str, ArraySpec]:
    """Return what cameras show, by observation, of their pictures' height and width [px]."""
    return {f"image_{name}": ArraySpec((3, *size), "uint8", "RGB, 0..255") for name, size in sizes.items()}


def set_points_in(control_dt_s: float, dt_s: float) -> int:
    """Return how many set-points, so far apart, a control step takes.

    Raises:
        UserError: it is no whole number of them.
    """
    count = round(control_dt_s / dt_s)
    if abs(count * dt_s - control_dt_s) > 1e-6 or count < 1:
        raise UserError(
            f"control_hz={1 / dt_s:g}: a control step of {control_dt_s:g} s needs a whole number "
            "of set-points"
        )
    return count


def check_names(names: Sequence[str]) -> None:
    """Refuse names of what a policy sees that no real arm says.

    Raises:
        UserError: names the first of them.
    """
    strange = [name for name in names if name not in SEEN and not _is_joint(name)]
    if strange or not names:
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        raise UserError(
            f"the policy wants to see {', '.join(strange[:3]) or 'what has no name'}{more}, which no arm "
            f"says; it says {', '.join(SEEN)} and joint_pos_0 .. joint_pos_6"
        )


def _is_joint(name: str) -> bool:
    head, _, number = name.rpartition("_")
    return head == "joint_pos" and number.isdecimal() and int(number) < 7
