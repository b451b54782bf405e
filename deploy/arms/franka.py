"""A Franka arm (FR3, or Panda with new firmware) through libfranka: its tool is pulled as by a spring.

The spring is computed a thousand times a second by franky's own thread. A set-point moves its end at once:
whoever sends one limits it before, as `motion.MotionLimiter` does.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from robofb.deploy.arms.arm import ArmError, ArmState, ArmTarget, LinkLostError
from robofb.deploy.arms.franka_hand import FrankaHand
from robofb.deploy.arms.franka_link import load_franky, open_within
from robofb.deploy.pose import Pose, Vector, checked_vector, unit
from robofb.errors import UserError, check_at_least, check_positive

_MODES = {  # in which it does not do as told, by libfranka's names; the others are Idle and Move
    "Other": "an unknown mode",
    "Guiding": "guiding by hand",
    "Reflex": "reflex",
    "UserStopped": "user stop",
    "AutomaticErrorRecovery": "recovery from an error",
}
_BY_HAND = ("Guiding", "UserStopped")  # which a person ends at the arm
_POLL_S = 0.01


class FrankaArm:
    """Pull the tool to set-points by a Cartesian spring. Satisfies `arms.arm.RobotArm`.

    The tool's frame is the end effector's that is set in Desk. While no motion runs, reading the state waits
    for the next packet (1 ms), and for one second where none comes.

    Args:
        host: the arm's address.
        home_position_m, home_turn: where it goes before an episode; wxyz.
        stiffness_n_m, stiffness_nm_rad: of the spring, which is damped critically.
        most_error_m, most_error_rad: by which it pulls at most, for each axis: what is further away pulls no
            harder. A moving tool lags by 2 v / sqrt(stiffness).
        elbow_nm_rad: stiffness of a second spring, which holds the elbow where it was when the tool began.
        collision_nm, collision_n: torque of a joint and force on the tool that are a reflex.
        load_kg, load_at_m, load_inertia_kg_m2: what the hand carries: its centre from the flange, and its
            moments about x, y and z. The hand's own are set in Desk.
        realtime: whether to refuse a machine without a real-time kernel.
        answer_s: in which it must answer when it is connected.
        recover_s: in which it must come to rest and be without errors when it recovers.
        hand: the Franka hand; None where it carries none.

    Raises:
        UserError: names the setting that cannot be.
    """

    def __init__(
        self,
        host: str,
        home_position_m: Sequence[float],
        home_turn: Sequence[float],
        stiffness_n_m: float,
        stiffness_nm_rad: float,
        most_error_m: float,
        most_error_rad: float,
        elbow_nm_rad: float,
        collision_nm: float,
        collision_n: float,
        load_kg: float,
        load_at_m: Sequence[float],
        load_inertia_kg_m2: Sequence[float],
        realtime: bool,
        answer_s: float,
        recover_s: float,
        hand: FrankaHand | None = None,
    ) -> None:
        self.host, self.hand, self.realtime = host, hand, realtime
        self._name = f"the Franka at {host}"
        self.home = _home(home_position_m, home_turn)
        self.stiffness_n_m, self.stiffness_nm_rad = stiffness_n_m, stiffness_nm_rad
        self.most_error_m, self.most_error_rad = most_error_m, most_error_rad
        self.elbow_nm_rad, self.load_kg = elbow_nm_rad, load_kg
        self.collision_nm, self.collision_n = collision_nm, collision_n
        self.load_at_m = checked_vector("load_at_m", load_at_m)
        self.load_inertia_kg_m2 = checked_vector("load_inertia_kg_m2", load_inertia_kg_m2)
        self.answer_s, self.recover_s = answer_s, recover_s
        check_positive(self, "stiffness_n_m", "stiffness_nm_rad", "most_error_m", "most_error_rad")
        check_positive(self, "collision_nm", "collision_n", "answer_s", "recover_s")
        check_at_least(self, 0, "elbow_nm_rad", "load_kg")
        self._franky: Any = None
        self._robot: Any = None
        self._motion: Any = None  # that takes set-points; None from the moment it is stopped
        self._lost = f"{self._name} is not connected"
        self._cut_off = ""  # why it ended unasked; kept until a person has acknowledged it
        self._gripper = -1.0  # commanded
        self._news = (-1.0, 0.0)  # the newest stamp, and when it came

    def connect(self) -> None:
        """Open the links to arm and hand; nothing moves, and no error is cleared.

        Raises:
            UserError: nobody answers, or franky is missing.
        """
        self.close()
        self._franky = franky = load_franky()
        kernel = franky.RealtimeConfig.Enforce if self.realtime else franky.RealtimeConfig.Ignore
        self._robot = open_within(
            lambda: franky.Robot(self.host, realtime_config=kernel), self.answer_s, self._name
        )
        self._cut_off = ""
        if self.hand is None:
            return
        try:
            self.hand.connect(self.host, self.answer_s)
        except UserError:
            self.close()
            raise

    def enable(self) -> None:
        """Wait for the first set-point, which begins its motion."""

    def state(self) -> ArmState:
        """Return what it last said."""
        with self._link() as robot:
            self._is_moving(robot)  # first: it knows at once of a link whose next packet would be waited for
            state = robot.state
        if self.hand is not None and self.hand.lost:
            raise LinkLostError(self.hand.lost)
        stamp = state.time.to_sec()
        if stamp != self._news[0]:
            self._news = (stamp, time.monotonic())
        gripper = self._gripper if self.hand is None else self.hand.gripper
        joints = tuple(map(float, state.q))
        fault = self._fault(state)
        return ArmState(self._news[1], stamp, pose_of(state.O_T_EE), joints, gripper, force_of(state), fault)

    def command(self, target: ArmTarget) -> ArmTarget:
        """Move the end of the spring; the first set-point after rest hooks it in."""
        if not all(map(math.isfinite, (*target.pose.position_m, *target.pose.turn))):
            raise ArmError(f"no set-point: {target.pose}")
        with self._link() as robot:
            moves = self._is_moving(robot)
            state = robot.state
            if fault := self._fault(state):
                raise ArmError(fault)
            if self._motion is not None:
                self._motion.set_reference(self._reference(target.pose))
            elif moves:
                raise ArmError("it is still coming to rest")
            else:
                self._begin(robot, state, target.pose)
        self._gripper = target.gripper
        if self.hand is not None:
            self.hand.want(target.gripper)
        return target

    def stop(self) -> None:
        """Unhook the spring, and brake each joint until it rests (0.2 s or more)."""
        motion, self._motion = self._motion, None
        if motion is None or self._robot is None:
            return
        try:
            with self._link() as robot:
                if self._is_moving(robot):
                    robot.move(self._franky.TorqueStopMotion(), asynchronous=True)
        except ArmError as error:  # whoever is asked for the state next says so
            self._cut_off = self._cut_off or str(error)

    def recover(self) -> None:
        """Clear the arm's own errors and the hand's fault.

        Raises:
            ArmError: a person must first end it at the arm, or it stays.
        """
        until_s = time.monotonic() + self.recover_s
        with self._link() as robot:
            mode = robot.state.robot_mode.name
            if mode in _BY_HAND:
                raise ArmError(f"{_MODES[mode]}: end it at the arm first")
            while self._is_moving(robot):
                _wait(until_s, "it does not come to rest")
            if robot.has_errors or mode == "Reflex":
                robot.recover_from_errors()  # its answer is of a state before
            while fault := _trouble(robot.state):
                _wait(until_s, f"{fault} stays")
        self._cut_off = ""
        if self.hand is not None:
            self.hand.recover()

    def close(self) -> None:
        """Brake, and let arm and hand go; safe twice."""
        self.stop()
        robot, self._robot = self._robot, None
        if robot is not None:
            self._lost = f"{self._name} is not connected"
            with suppress(self._franky.Exception, RuntimeError):  # however it ended, it has ended
                robot.join_motion(self.recover_s)
        if self.hand is not None:
            self.hand.close()

    @contextmanager
    def _link(self) -> Iterator[Any]:
        """Give the robot; where it is gone, let go of it.

        Raises:
            LinkLostError: it is gone.
            ArmError: it refused.
        """
        if self._robot is None:
            raise LinkLostError(self._lost)
        try:
            yield self._robot
        except (self._franky.NetworkException, RuntimeError) as error:  # the latter: it was broken before
            self._robot = self._motion = None
            self._lost = f"{self._name} is gone: {error}"
            raise LinkLostError(self._lost) from error
        except self._franky.Exception as error:
            raise ArmError(f"the Franka refused: {error}") from error

    def _is_moving(self, robot: Any) -> bool:
        """Return whether the spring pulls or the joints brake; remember what cut that off."""
        try:
            moves = not robot.join_motion(0.0)
        except self._franky.ControlException as error:
            self._motion, self._cut_off = None, str(error).splitlines()[0]
            return False
        if self._motion is not None and not moves:
            self._motion, self._cut_off = None, "its motion ended by itself"
        return moves

    def _begin(self, robot: Any, state: Any, pose: Pose) -> None:
        """Hook the spring in."""
        franky = self._franky
        robot.set_collision_behavior(self.collision_nm, self.collision_n)
        xx, yy, zz = self.load_inertia_kg_m2
        robot.set_load(self.load_kg, self.load_at_m, (xx, 0.0, 0.0, 0.0, yy, 0.0, 0.0, 0.0, zz))
        motion = franky.CartesianImpedanceTrackingMotion(
            translational_stiffness=self.stiffness_n_m,
            rotational_stiffness=self.stiffness_nm_rad,
            posture_task=franky.PostureTask(state.q, self.elbow_nm_rad),
            translational_error_clip=[self.most_error_m] * 3,
            rotational_error_clip=[self.most_error_rad] * 3,
        )
        motion.set_reference(self._reference(pose))
        robot.move(motion, asynchronous=True)
        self._motion = motion

    def _reference(self, pose: Pose) -> Any:
        w, x, y, z = pose.turn
        return self._franky.CartesianReference(self._franky.Affine(pose.position_m, (x, y, z, w)))

    def _fault(self, state: Any) -> str:
        """Return why it does not do as told; empty where it does."""
        hand = "" if self.hand is None else self.hand.fault
        return _trouble(state) or self._cut_off or hand


def pose_of(affine: Any) -> Pose:
    """Return franky's pose as ours: wxyz, and of unit length, for it came in single precision."""
    x, y, z = map(float, affine.translation)
    i, j, k, w = map(float, affine.quaternion)
    return Pose((x, y, z), unit((w, i, j, k)))


def force_of(state: Any) -> Vector:
    """Return the force on the tool in the base frame [N]; libfranka's is the one that the tool exerts."""
    x, y, z = map(float, state.O_F_ext_hat_K[:3])
    return -x, -y, -z


def _trouble(state: Any) -> str:
    """Return the mode and errors of a state in words; empty where it would do as told."""
    errors = [name.replace("_", " ") for name in re.findall(r"\w+", str(state.current_errors))]
    mode = _MODES.get(state.robot_mode.name, "error" if errors else "")
    return f"{mode}: {', '.join(errors)}" if errors else mode


def _wait(until_s: float, otherwise: str) -> None:
    """Wait a little.

    Raises:
        ArmError: it is too late for that; says `otherwise`.
    """
    if time.monotonic() > until_s:
        raise ArmError(otherwise)
    time.sleep(_POLL_S)


def _home(position_m: Sequence[float], turn: Sequence[float]) -> Pose:
    if len(turn) != 4 or not abs(math.hypot(*turn) - 1.0) < 1e-3:
        raise UserError(f"home_turn={list(turn)}: needs a unit quaternion, wxyz")
    w, x, y, z = map(float, turn)
    return Pose(checked_vector("home_position_m", position_m), unit((w, x, y, z)))
