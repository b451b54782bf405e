"""The SO-101: five joints and a gripper, six STS3215 servos on one serial bus."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from robofb.deploy.arms.arm import ArmError, ArmState, ArmTarget, LinkLostError
from robofb.deploy.arms.feetech_bus import BAUD_RATES, FeetechBus, Reply
from robofb.deploy.arms.so101_kinematics import LINKS, Joints
from robofb.deploy.arms.so101_servo import STEPS, Servo, checked_home, kinematics_of, servos_of
from robofb.deploy.pose import angle_between, difference, length
from robofb.errors import UserError, check_at_least, check_positive

GRIPPER = "gripper"
_FIXED, _FIXED_SIZE = 3, 31  # registers that the servo keeps: model, homing offset and mode among them
_MODEL, _POSITION_MODE = 777, 0
_TORQUE, _GOAL, _TORQUE_LIMIT = 40, 42, 48
_PRESENT, _PRESENT_SIZE = 56, 10  # position, speed, load, voltage, temperature, a flag, status
_SAME_M, _SAME_RAD = 5e-4, 0.01  # nearer its target it is there: a step is 0.5 mm at arm's length
_LEAST_S, _MOST_S = 0.01, 0.1  # between two set-points, for the bound of speed


class So101Arm:
    """Drive an SO-101 by set-points of its tool. Satisfies `arms.arm.RobotArm`; frames: `so101_kinematics`.

    Five joints cannot take every orientation: the position comes first. What cannot be reached is brought
    as near as it can be, and `command` returns that; it returns the target itself where the tool comes
    within 0.5 mm and 0.01 rad of it.

    Its servos hold whatever they were last told, also when nobody speaks to them. Their torque is switched
    on by the first command after `connect` or `recover`, once each servo's goal is where it stands.

    Args:
        port: of the bus adapter.
        baudrate: of the bus.
        joints: by name, from the base to the gripper, what LeRobot's calibration file says of its servo;
            see `so101_servo.Servo`.
        home_rad: the five joints' angles at home.
        max_joint_rad_s: fastest that a joint may turn; the servos themselves are bound by it too.
        gripper_torque: share of its torque that the gripper may use, so that a grasp is no overload.
        answer_s: how long a servo may take to answer.
        retries: how often a servo is asked again that did not answer soundly.
        release: whether `close` lets the arm go limp. It falls then: hold it.

    Attributes:
        home: where it goes before an episode.

    Raises:
        UserError: a setting that no such arm can have.
    """

    def __init__(
        self,
        port: str,
        baudrate: int,
        joints: Mapping[str, Mapping[str, object]],
        home_rad: Sequence[float],
        max_joint_rad_s: float,
        gripper_torque: float,
        answer_s: float,
        retries: int,
        release: bool,
    ) -> None:
        self.max_joint_rad_s, self.gripper_torque, self.release = max_joint_rad_s, gripper_torque, release
        self.answer_s, self.retries = answer_s, retries
        check_positive(self, "max_joint_rad_s", "gripper_torque", "answer_s")
        check_at_least(self, 0, "retries")
        if gripper_torque > 1:
            raise UserError(f"gripper_torque={gripper_torque}: must be at most 1")
        if baudrate not in BAUD_RATES:
            raise UserError(f"baudrate={baudrate}: must be one of {', '.join(map(str, BAUD_RATES))}")
        self._servos = servos_of(joints, (*LINKS, GRIPPER))
        self._grip = self._servos[GRIPPER]
        self._arm = [self._servos[name] for name in LINKS]
        self._kinematics = kinematics_of(self._arm)
        self.home = self._kinematics.forward(checked_home(home_rad, self._kinematics))
        names = {servo.id: name for name, servo in self._servos.items()}
        self._bus = FeetechBus(port, baudrate, names, answer_s, retries)
        self._stamp = 0
        self._replies: dict[int, Reply] = {}
        self._newest: ArmState | None = None
        self._holds = False  # whether its torque was switched on
        self._goal: Joints | None = None  # that it was last sent; None where it is to begin anew
        self._gripper = -1.0
        self._sent_s = 0.0
        self._enabled = self._stopped = False

    def connect(self) -> None:
        """Open the bus and see that this arm is on it; nothing moves, and no torque is switched.

        Raises:
            UserError: a servo is missing, of another kind, or not calibrated as the settings say.
        """
        self._goal = self._newest = None
        self._holds = self._enabled = self._stopped = False
        self._bus.open()
        try:
            for name, servo in self._servos.items():
                self._check_servo(name, servo)
        except ArmError as error:
            self._bus.close()
            raise UserError(
                f"{error} on {self._bus.port}: is the arm's power on, its cable plugged in, its id set?"
            ) from error
        except UserError:
            self._bus.close()
            raise

    def enable(self) -> None:
        """Wait for the first set-point, with which the servos take hold."""
        self._enabled = True

    def state(self) -> ArmState:
        """Ask all servos; return what they say. The stamp counts their answers.

        Raises:
            ArmError: a servo does not answer soundly, though it was asked again.
            LinkLostError: none answers.
        """
        self._replies = self._bus.read_all(_PRESENT, _PRESENT_SIZE)
        self._stamp += 1
        joints = [servo.angle_rad(self._present(servo)) for servo in self._arm]
        self._newest = ArmState(
            time.monotonic(),
            float(self._stamp),
            self._kinematics.forward(joints),
            tuple(joints),
            self._grip.closed(self._present(self._grip)),
            fault=", ".join(self._complaint(servo) for servo in self._faulty()),
        )
        return self._newest

    def command(self, target: ArmTarget) -> ArmTarget:
        """Send a set-point for now; return what was really sent.

        Raises:
            ArmError: a servo is at fault, or the target is not finite.
        """
        if not all(map(math.isfinite, (*target.pose.position_m, *target.pose.turn, target.gripper))):
            raise ArmError(f"the target is not finite: {target}")
        if self._newest is None:
            self.state()
        assert self._newest is not None
        if self._newest.fault:
            raise ArmError(self._newest.fault)
        goal = self._take_hold() if self._goal is None else self._goal
        joints = self._within_speed(goal, self._kinematics.inverse(target.pose, goal))
        self._gripper = max(-1.0, min(1.0, target.gripper))
        self._send(joints)
        sent = ArmTarget(self._kinematics.forward(joints), self._gripper)
        return target if _alike(sent, target) else sent

    def stop(self) -> None:
        """Hold the five joints where they are, and the gripper as it grips; safe in any state.

        Told so once: an arm that sags a little under its weight would sink further with each time. Before
        the first command it stops, once enabled, what another process has left on its way.
        """
        if self._stopped:
            return
        if self._goal is None:
            if self._enabled:
                self._catch()
            return
        with suppress(ArmError):  # what it said last must do
            self.state()
        assert self._newest is not None
        with suppress(LinkLostError):
            self._send(np.array(self._newest.joints_rad))
            self._stopped = True

    def recover(self) -> None:
        """Switch the torque of the servos at fault off, and on again from where they stand.

        Raises:
            ArmError: a servo stays at fault, or does not answer.
        """
        self.state()
        for servo in self._faulty():
            if self._holds:
                self._hold_still(servo)
            self._bus.write(servo.id, _TORQUE, b"\x00")
            if self._holds:
                self._bus.write(servo.id, _TORQUE, b"\x01")
        if fault := self.state().fault:
            raise ArmError(f"{fault} stays")
        self._goal = None  # the next command begins from where the arm is then

    def close(self) -> None:
        """Stop, and leave the bus; safe twice. The arm holds on, for without torque it would fall."""
        self.stop()
        if self.release:
            for servo in self._servos.values():
                with suppress(ArmError):
                    self._bus.write(servo.id, _TORQUE, b"\x00")
        self._goal = None
        self._bus.close()

    def _check_servo(self, name: str, servo: Servo) -> None:
        """Refuse a servo that is not the one of the settings."""
        kept = self._bus.read(servo.id, _FIXED, _FIXED_SIZE).data
        model, offset, mode = struct.unpack("<H26xHB", kept)
        offset = -(offset & 0x7FF) if offset & 0x800 else offset
        if model != _MODEL:
            raise UserError(f"{self._bus.name_of(servo.id)} is of model {model}: needs {_MODEL}, an STS3215")
        if mode != _POSITION_MODE:
            raise UserError(
                f"{self._bus.name_of(servo.id)} is in mode {mode}: needs {_POSITION_MODE}, position"
            )
        if offset != servo.homing_offset:
            raise UserError(
                f"joints.{name}.homing_offset={servo.homing_offset}, but servo {servo.id} holds {offset}:"
                " the calibration is another arm's, or an old one"
            )

    def _present(self, servo: Servo) -> int:
        """Return a servo's position; bit 15 is its sign."""
        (word,) = struct.unpack_from("<H", self._replies[servo.id].data)
        return -(word & 0x7FFF) if word & 0x8000 else word

    def _faulty(self) -> list[Servo]:
        return [servo for servo in self._servos.values() if self._replies[servo.id].errors]

    def _complaint(self, servo: Servo) -> str:
        data, errors = self._replies[servo.id]
        load, volts, celsius = struct.unpack_from("<HBB", data, 4)
        return (
            f"{self._bus.name_of(servo.id)}: {' and '.join(errors)}"
            f" ({(load & 0x3FF) / 10:.0f} % load, {volts / 10:.1f} V, {celsius} °C)"
        )

    def _take_hold(self) -> Joints:
        """Switch all torque on where the arm stands, and return its joints; each servo confirms it."""
        state = self.state()
        for servo in self._servos.values():
            self._hold_still(servo)
        limit = struct.pack("<H", round(1000 * self.gripper_torque))
        self._bus.write(self._grip.id, _TORQUE_LIMIT, limit)
        for servo in self._servos.values():
            self._bus.write(servo.id, _TORQUE, b"\x01")
        self._holds, self._sent_s = True, time.monotonic()
        return np.array(state.joints_rad)

    def _catch(self) -> None:
        """Hold the joints where they are that another process holds; a limp one stays limp."""
        with suppress(ArmError):
            self.state()
            self._stopped = True
        for servo in self._arm if self._stopped else ():
            with suppress(ArmError):  # the others are to be held all the more
                if self._bus.read(servo.id, _TORQUE, 1).data[0]:
                    self._hold_still(servo)

    def _hold_still(self, servo: Servo) -> None:
        """Make a servo's goal the very position that it last said it has."""
        self._bus.write(servo.id, _GOAL, self._replies[servo.id].data[:2] + self._pace())

    def _pace(self) -> bytes:
        """Return what follows a goal: no time of arrival, and the bound of speed in steps/s."""
        return struct.pack("<HH", 0, round(self.max_joint_rad_s * STEPS / (2 * math.pi)))

    def _within_speed(self, start: Joints, end: Joints) -> Joints:
        """Return the joints on the way to `end`, no further than they may turn by now."""
        elapsed_s = max(_LEAST_S, min(_MOST_S, time.monotonic() - self._sent_s))
        way = end - start
        most = max(float(np.abs(way).max()), 1e-12)
        return start + way * min(1.0, self.max_joint_rad_s * elapsed_s / most)

    def _send(self, joints: Joints) -> None:
        """Tell all servos their goals by one sync write."""
        positions = {servo.id: servo.position(angle) for servo, angle in zip(self._arm, joints, strict=True)}
        positions[self._grip.id] = self._grip.closing(self._gripper)
        pace = self._pace()
        self._bus.write_all(_GOAL, {each: struct.pack("<H", at) + pace for each, at in positions.items()})
        self._goal, self._sent_s, self._stopped = joints, time.monotonic(), False


def _alike(a: ArmTarget, b: ArmTarget) -> bool:
    return (
        length(difference(a.pose.position_m, b.pose.position_m)) < _SAME_M
        and angle_between(a.pose.turn, b.pose.turn) < _SAME_RAD
        and a.gripper == b.gripper
    )
