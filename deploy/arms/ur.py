"""An arm of Universal Robots (CB3 or e-Series), by RTDE and its dashboard server."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from robofb.deploy.arms.arm import ArmError, ArmState, ArmTarget, LinkLostError
from robofb.deploy.arms.gripper import Gripper, NoGripper
from robofb.deploy.arms.ur_dashboard import ask_dashboard
from robofb.deploy.arms.ur_reading import (
    PLAYING,
    PROTECTIVE_STOP,
    VARIABLES,
    Reading,
    fault_of,
    read,
    stopped,
)
from robofb.deploy.arms.ur_servo import STOP, ServoSettings, UrServo
from robofb.deploy.pose import Pose, checked_vector, rotvec_of, turn_of
from robofb.errors import UserError, check_positive

LOG = logging.getLogger(__name__)
_UNLOCKED = "Protective stop releasing"
_OPEN_S, _DASHBOARD_S, _RECOVER_S = 15.0, 2.0, 3.0
_TOLD_S = 0.05  # a dozen of the messages that it streams
_SILENT_S = 1.0  # the library's own reconnecting, which must not be, begins at 2.5 s
_LOOKAHEAD_S, _GAIN = (0.03, 0.2), (100.0, 2000.0)  # what the robot accepts
_PERIOD_S, _WATCHDOG_S = (0.002, 0.05), (0.2, 60.0)  # a watchdog must outlast some set-points


class UrArm:
    """Follow set-points by servoL. Satisfies `arms.arm.RobotArm`.

    Until it is enabled the robot is read alone: what its pendant runs goes on.

    The tool's centre, the payload and its centre of mass are those of the pendant's installation.

    Args:
        host: address of the control box.
        home_pos_m, home_rotvec_rad: the tool's home in the base frame, as the pendant shows it.
        period_s: between set-points.
        lookahead_s: over which the robot smooths its way.
        gain: with which it follows.
        stop_m_s2: deceleration of a stop.
        stream_hz: how often the robot says what it does; 500 at most, of CB3 125.
        gripper: at the tool; None for none.
        watchdog_s: the robot ends its control script by itself, and stops, where it hears nothing for longer.

    Raises:
        UserError: names the setting that the robot would not accept.
    """

    def __init__(
        self,
        host: str,
        home_pos_m: Sequence[float],
        home_rotvec_rad: Sequence[float],
        period_s: float = 0.01,
        lookahead_s: float = 0.1,
        gain: float = 300.0,
        stop_m_s2: float = 2.0,
        stream_hz: float = 250.0,
        gripper: Gripper | None = None,
        watchdog_s: float = 1.0,
    ) -> None:
        self.settings = ServoSettings(host, stream_hz, period_s, lookahead_s, gain, stop_m_s2, watchdog_s)
        check_positive(self.settings, "stream_hz", "period_s", "stop_m_s2", "watchdog_s")
        _check_within("lookahead_s", lookahead_s, *_LOOKAHEAD_S)
        _check_within("gain", gain, *_GAIN)
        _check_within("period_s", period_s, *_PERIOD_S)
        _check_within("watchdog_s", watchdog_s, *_WATCHDOG_S)
        self.home = pose_of(
            [*checked_vector("home_pos_m", home_pos_m), *checked_vector("home_rotvec_rad", home_rotvec_rad)]
        )
        self.gripper: Gripper = gripper or NoGripper()
        self._receive: Any = None
        self._servo = UrServo(self.settings)
        self._news = (math.nan, 0.0)  # the newest stamp, and when it came
        self._lost = ""  # why the link is
        self._enabled = False  # our control script was sent

    def connect(self) -> None:
        """Open the link anew, to read.

        Raises:
            UserError: nobody answers, it is at fault, a package is missing; says what to do.
        """
        self.close()
        host = self.settings.host
        try:
            import rtde_receive
        except ImportError as error:
            raise UserError("ur_rtde is missing: pip install 'robofb[deploy]'") from error
        try:
            ask_dashboard(host, "robotmode", _DASHBOARD_S)
            self._receive = rtde_receive.RTDEReceiveInterface(host, self.settings.stream_hz, VARIABLES)
            if why := stopped(self._read()):
                raise UserError(f"host={host}: the arm says {why}; see to it at the pendant")
            self.gripper.connect(host)
        except (OSError, RuntimeError, ArmError) as error:
            self.close()
            raise UserError(f"host={host}: no UR answers there ({error})") from error
        except UserError:
            self.close()
            raise

    def enable(self) -> None:
        """Let our control script run on the robot, in place of what its pendant runs.

        Raises:
            ArmError: it takes none; says why.
        """
        if why := stopped(self._read()):
            raise ArmError(f"{why}: see to it at the pendant, then arm again")
        if self._enabled:
            self._run_script()
            return
        self._servo.start(_OPEN_S)
        self._enabled = True
        self._wait_until(lambda new: not fault_of(new))

    def state(self) -> ArmState:
        """Return what the robot said last.

        Raises:
            LinkLostError: it said nothing for a second, or hung up.
        """
        reading, now_s = self._read(), time.monotonic()
        if reading.stamp_s != self._news[0]:
            self._news = (reading.stamp_s, now_s)
        elif now_s - self._news[1] > _SILENT_S:
            self._lose(f"the robot said nothing for {_SILENT_S:g} s")
        if self._enabled and not self._servo.alive:
            self._lose("the process that speaks to the robot has ended")
        force = (reading.wrench[0], reading.wrench[1], reading.wrench[2])
        return ArmState(
            received_s=self._news[1],
            stamp=reading.stamp_s,
            pose=pose_of(reading.tool),
            joints_rad=tuple(reading.joints_rad),
            gripper=self.gripper.position,
            force_n=force,
            fault=self._fault(reading) or self.gripper.fault,
        )

    def command(self, target: ArmTarget) -> ArmTarget:
        """Send a set-point; the robot takes the newest."""
        if not self._enabled:
            raise ArmError("it was not enabled since it was connected")
        tool = tool_of(target.pose)
        if not all(map(math.isfinite, tool)):
            raise ArmError(f"the set-point is not finite: {tool}")
        try:
            self._servo.send(tool)
        except LinkLostError:
            raise
        except ArmError as error:
            raise ArmError(self._told_why() or str(error)) from error
        self.gripper.command(target.gripper)
        return target

    def stop(self) -> None:
        """Brake; where the link is gone, ask the dashboard server to end the script.

        What the robot runs is left alone where it is not ours.
        """
        if not self._enabled:
            return
        try:
            self._servo.stop()
        except LinkLostError:
            threading.Thread(target=self._end_script, daemon=True).start()  # may wait

    def recover(self) -> None:
        """Release a protective stop, and let our control script run again where it was sent before."""
        reading = self._read()
        if reading.safety == PROTECTIVE_STOP:
            self._unlock()
        elif why := stopped(reading):
            raise ArmError(f"{why}: see to it at the pendant, then acknowledge again")
        self._wait_until(lambda new: not stopped(new))
        if self._enabled:
            self._run_script()
        self.gripper.recover()

    def close(self) -> None:
        """Brake, end our control script and hang up; safe twice."""
        self.gripper.close()
        self._servo.close()
        self._enabled, self._lost = False, ""
        if self._receive is not None:
            self._receive.disconnect()
        self._receive = None

    def _read(self) -> Reading:
        receive = self._receive
        if receive is None or self._lost:
            raise LinkLostError(self._lost or "the robot's link is closed")
        if not receive.isConnected():
            self._lose("the robot hung up")
        return read(receive)

    def _told_why(self) -> str:
        """Return why set-points are refused: the robot says it a moment later, or not at all."""
        until_s = time.monotonic() + _TOLD_S
        while not (why := fault_of(self._read())) and time.monotonic() < until_s:
            time.sleep(0.5 / self.settings.stream_hz)
        return why

    def _lose(self, why: str) -> NoReturn:
        """Do without the robot until somebody connects anew."""
        self._servo.kill()
        self._lost = why
        raise LinkLostError(why)

    def _fault(self, reading: Reading) -> str:
        """Return why the robot would not do what it should; whose program it runs matters once it is ours."""
        return fault_of(reading) if self._enabled else stopped(reading)

    def _run_script(self) -> None:
        """Send the control script anew where it does not run, or what runs there is another."""
        if self._read().runtime != PLAYING or self._servo.refused:
            self._servo.upload(_RECOVER_S)
        self._wait_until(lambda new: not fault_of(new))

    def _unlock(self) -> None:
        host = self.settings.host
        try:
            answer = ask_dashboard(host, "unlock protective stop", _DASHBOARD_S)
        except OSError as error:
            raise ArmError(f"the protective stop is not released ({error})") from error
        if answer != _UNLOCKED:
            raise ArmError(f"the protective stop is not released: {answer}")

    def _wait_until(self, sound: Callable[[Reading], bool]) -> None:
        """Wait until a new reading is as it should be."""
        before_s, deadline_s = self._read().stamp_s, time.monotonic() + _RECOVER_S
        while (reading := self._read()).stamp_s == before_s or not sound(reading):
            if time.monotonic() > deadline_s:
                raise ArmError(fault_of(reading) or "the robot says nothing new")
            time.sleep(0.5 / self.settings.stream_hz)

    def _end_script(self) -> None:
        try:
            ask_dashboard(self.settings.host, STOP, _DASHBOARD_S)
        except OSError as error:
            LOG.warning("the robot could not be told to stop: %s", error)


def pose_of(tool: Sequence[float]) -> Pose:
    """Return the pose of x, y, z [m] and a rotation vector [rad]."""
    x, y, z, *rotvec = tool
    return Pose((x, y, z), turn_of((rotvec[0], rotvec[1], rotvec[2])))


def tool_of(pose: Pose) -> list[float]:
    """Return x, y, z [m] and the rotation vector [rad] of a pose."""
    return [*pose.position_m, *rotvec_of(pose.turn)]


def _check_within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{name}={value}: must lie in {low:g} .. {high:g}")
