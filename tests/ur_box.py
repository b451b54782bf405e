"""A fake control box of a UR arm, as a process: RTDE v2, dashboard, script and gripper ports on one address.

The parent writes one JSON object of attributes to set on the robot per line, and reads one of facts for each.
Where it names a file, every set-point that came is appended there as `HEARD`: the time of this machine [s],
then x, y, z [m] and a rotation vector [rad].
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import struct
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

from robotiq_socket import PORT_GRIPPER, Fingers
from ur_joints import UrJoints
from ur_stream import PORT_RTDE, Rtde

TICK_S = 0.004
FOLLOW_S = 0.02  # time constant with which the tool follows its set-point
UNLOCK_S = 0.1  # that the release of a protective stop takes
STOPPED, PLAYING, PAUSED = 1, 2, 4
NORMAL, PROTECTIVE_STOP, ROBOT_EMERGENCY_STOP = 1, 3, 7
POWER_OFF, RUNNING = 3, 7
SAFETY_BITS = {NORMAL: 1 << 0, PROTECTIVE_STOP: 1 << 2, ROBOT_EMERGENCY_STOP: 1 << 6 | 1 << 7}
SERVO_L, SPEED_STOP, SERVO_STOP, SET_WATCHDOG, KICK, STOP_SCRIPT = 24, 15, 16, 35, 99, 255
READY, DONE = 1, 2
HEARD = "<7d"
FACTS = "pose safety runtime uploads set_points servo_stops dashboard_stops servo watchdog_hz bites time_s"
PORT_DASHBOARD, PORTS_SCRIPT = 29999, (30001, 30002, 30003)


class Robot:
    """What the ports show; attributes without an underscore are for the parent to set."""

    def __init__(self, heard: BinaryIO | None = None) -> None:
        self.pose = [0.4, 0.0, 0.25, math.pi, 0.0, 0.0]
        self.force = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        self.safety, self.mode, self.runtime = NORMAL, RUNNING, STOPPED
        self.frozen = False  # its stream stands still
        self.stuck = False  # the tool goes nowhere
        self.remote = True  # it takes scripts
        self.unlocks = True  # its protective stop can be released
        self.drops = False  # it closes its RTDE connections
        self.uploads = self.set_points = self.servo_stops = self.dashboard_stops = 0
        self.servo: list[float] = []  # gains of the last set-point: time, lookahead, gain
        self.watchdog_hz = 0.0  # of the script that runs; 0: none is set
        self.bites = 0  # how often it ended a script
        self.time_s = self._heard_s = 0.0  # by ticks, so that a box which stalls misses nobody
        self.inputs: dict[str, float] = {}
        self.reply = READY
        self._heard_file = heard
        self._target: list[float] | None = None
        self._executing = False
        self._unlocked_s = 0.0  # until a protective stop is released
        self.clients: set[Rtde] = set()
        self.fingers = Fingers()
        self.joints = UrJoints()

    def facts(self) -> dict:
        """Return what the parent may want to know."""
        facts = {name: getattr(self, name) for name in FACTS.split()}
        facts |= {"clients": len(self.clients), "gripper": self.fingers.values, "sets": self.fingers.sets}
        return facts

    def obey(self, values: dict) -> None:
        """Become what the parent wants; a stop of the safety system pauses the script, or ends it."""
        self.fingers.values |= values.pop("gripper", {})
        for name, value in values.items():
            assert hasattr(self, name), name
            setattr(self, name, value)
        if values.get("safety") == PROTECTIVE_STOP and self.runtime == PLAYING:
            self.runtime = PAUSED
        if values.get("safety") == ROBOT_EMERGENCY_STOP:
            self.mode, self.runtime, self._target = POWER_OFF, STOPPED, None
        if self.drops:
            self.drops = False
            for client in list(self.clients):
                client.transport.abort()

    def play(self) -> None:
        """Start a script that was uploaded, where it may run."""
        if self.safety == NORMAL and self.mode == RUNNING and self.remote:
            self.uploads += 1
            self.runtime, self.reply, self._target, self._executing = PLAYING, READY, None, False
            self.watchdog_hz = 0.0

    def answer(self, line: str) -> str:
        """Return the dashboard's answer."""
        if line == "PolyscopeVersion":
            return "URSoftware 5.11.0.108249 (Dec 09 2021)"
        if line == "get serial number":
            return "20225500001"
        if line == "is in remote control":
            return str(self.remote).lower()
        if line == "stop":
            self.runtime, self._target = STOPPED, None
            self.dashboard_stops += 1
            return "Stopped"
        if line == "unlock protective stop":
            if not self.unlocks:
                return "Cannot unlock protective stop until 5s after occurrence."
            self._unlocked_s = UNLOCK_S
            return "Protective stop releasing"
        return "could not understand: " + line

    def hear(self, values: dict[str, float]) -> None:
        """Take a client's registers."""
        self.inputs.update(values)
        self._heard_s = self.time_s
        if self.inputs.get("input_int_register_0") == SERVO_L:
            self.set_points += 1
            if self._heard_file is not None:
                tool = [self.inputs[f"input_double_register_{i}"] for i in range(6)]
                self._heard_file.write(struct.pack(HEARD, time.monotonic(), *tool))

    def tick(self, dt_s: float) -> None:
        """Run one cycle of the control script, then follow its set-point."""
        self.time_s += TICK_S
        if self._unlocked_s > 0:
            self._unlocked_s -= dt_s
            self.safety = self.safety if self._unlocked_s > 0 else NORMAL
        if self.runtime != PLAYING:
            return
        if self.watchdog_hz and self.time_s - self._heard_s > 1.0 / self.watchdog_hz:
            self.runtime, self._target = STOPPED, None
            self.bites += 1
            return
        self._script(int(self.inputs.get("input_int_register_0", 0)))
        if self._target is not None and not self.stuck:
            share = 1.0 - math.exp(-dt_s / FOLLOW_S)
            self.pose = [a + share * (b - a) for a, b in zip(self.pose, self._target, strict=True)]

    def _script(self, command: int) -> None:
        numbers = [self.inputs.get(f"input_double_register_{i}", 0.0) for i in range(11)]
        if command == SERVO_L:
            self._target = numbers[:3] + nearest(numbers[3:6], self.pose[3:])
            self.servo, self.reply = numbers[8:11], READY
        elif command in (0, KICK):
            self._executing, self.reply = False, READY
        elif not self._executing:
            self._executing, self.reply = True, DONE
            if command in (SERVO_STOP, SPEED_STOP):
                self._target = None
                self.servo_stops += 1
            if command == SET_WATCHDOG:
                self.watchdog_hz = numbers[0]
            if command == STOP_SCRIPT:
                self.runtime, self._target = STOPPED, None

    def value(self, name: str, time_s: float) -> list:
        """Return the numbers of one output."""
        if name.startswith("output_"):
            return [self.reply if name == "output_int_register_0" else 0]
        return {
            "timestamp": [time_s],
            "actual_q": self.joints.follow(self.pose),
            "actual_TCP_pose": self.pose,
            "actual_TCP_force": self.force,
            "robot_mode": [self.mode],
            "safety_mode": [self.safety],
            "runtime_state": [self.runtime],
            "robot_status_bits": [0b11 if self.mode == RUNNING else 0],
            "safety_status_bits": [SAFETY_BITS.get(self.safety, 0)],
        }[name]


def nearest(rotvec: list[float], other: list[float]) -> list[float]:
    """Return which of the two rotation vectors of the same rotation lies nearer to another."""
    angle = math.hypot(*rotvec)
    if angle < 1e-9:
        return rotvec
    long_way = [value * (1.0 - 2.0 * math.pi / angle) for value in rotvec]
    return min((rotvec, long_way), key=lambda each: math.dist(each, other))


async def dashboard(robot: Robot, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer line by line."""
    writer.write(b"Connected: Universal Robots Dashboard Server\n")
    with suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(robot.answer(line.decode().strip()).encode() + b"\n")
    writer.close()


async def script(robot: Robot, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take scripts; each ends with a line "end" of its own."""
    with suppress(ConnectionError):
        while line := await reader.readline():
            if line == b"end\n":
                robot.play()
    writer.close()


async def serve(host: str, heard: BinaryIO | None) -> None:
    """Be the controller until stdin ends."""
    robot, loop = Robot(heard), asyncio.get_running_loop()
    await loop.create_server(lambda: Rtde(robot), host, PORT_RTDE)
    await asyncio.start_server(lambda *streams: dashboard(robot, *streams), host, PORT_DASHBOARD)
    await asyncio.start_server(robot.fingers.serve, host, PORT_GRIPPER)
    for port in PORTS_SCRIPT:
        await asyncio.start_server(lambda *streams: script(robot, *streams), host, port)

    def hear() -> None:
        if not (line := sys.stdin.readline()):
            os._exit(0)
        robot.obey(json.loads(line))
        print(json.dumps(robot.facts()), flush=True)

    loop.add_reader(sys.stdin, hear)
    print("ready", flush=True)
    before_s = time.monotonic()
    while True:
        await asyncio.sleep(TICK_S)
        now_s = time.monotonic()
        robot.tick(now_s - before_s)
        before_s = now_s
        for client in list(robot.clients):
            client.stream(now_s)


if __name__ == "__main__":
    with Path(sys.argv[2]).open("ab", buffering=0) if sys.argv[2:] else nullcontext() as file:
        asyncio.run(serve(sys.argv[1], file))
