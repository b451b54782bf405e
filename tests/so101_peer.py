"""Six STS3215 servos on a pseudo terminal: Feetech's protocol 0, emulated in a process of its own.

Run as a script it is that process: a first line on its standard input describes the servos, each further one
is an order, and each is answered by a line. `So101Peer` starts it and speaks to it.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
import tty
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

READ, WRITE, SYNC_READ, SYNC_WRITE, PING = 2, 3, 0x82, 0x83, 1
MODEL, HOMING, TORQUE, GOAL, SPEED, TORQUE_LIMIT, PRESENT, STATUS = 3, 31, 40, 42, 46, 48, 56, 65
FASTEST = 3400.0  # steps/s


class Servo:
    """One servo's registers, and where its shaft is."""

    def __init__(self, position: int, homing_offset: int = 0, model: int = 777, mode: int = 0) -> None:
        self.memory = bytearray(128)
        self.position, self.moved_s = float(position), time.monotonic()
        self.dead = self.stubborn = False
        self.corrupt = self.errors = 0
        self.slowness = 1.0
        self.late_s = 0.0  # with its next answer
        self.jumps: list[float] = []  # from the shaft to the goal, whenever its torque was switched on
        self.most_speed = self.writes = 0
        self.put(MODEL, model)
        self.put(HOMING, abs(homing_offset) | (0x800 if homing_offset < 0 else 0))
        self.memory[33] = mode
        self.memory[62:64] = bytes((120, 31))  # 12 V, 31 degrees

    def put(self, address: int, value: int) -> None:
        self.memory[address : address + 2] = value.to_bytes(2, "little")

    def word(self, address: int) -> int:
        return int.from_bytes(self.memory[address : address + 2], "little")

    def advance(self) -> None:
        """Move the shaft by what it went since the last time."""
        now_s = time.monotonic()
        if self.memory[TORQUE]:
            way = self.word(GOAL) - self.position
            most = (self.word(SPEED) or FASTEST) * (now_s - self.moved_s) / self.slowness
            self.position += max(-most, min(most, way))
        self.moved_s = now_s
        self.put(PRESENT, round(self.position))
        self.memory[STATUS] = self.errors

    def write(self, address: int, data: bytes) -> None:
        self.advance()
        self.writes += 1
        switched_on = address == TORQUE and data[0] and not self.memory[TORQUE]
        self.memory[address : address + len(data)] = data
        self.most_speed = max(self.most_speed, self.word(SPEED))
        if switched_on:
            self.jumps.append(self.word(GOAL) - self.position)
        if address == TORQUE and not data[0] and not self.stubborn:
            self.errors = 0

    @property
    def off(self) -> bool:
        """Whether its torque is off."""
        return not self.memory[TORQUE]

    @off.setter
    def off(self, off: bool) -> None:
        self.memory[TORQUE] = not off

    @property
    def goal(self) -> int:
        """Where it goes by itself."""
        return self.word(GOAL)

    @goal.setter
    def goal(self, goal: int) -> None:
        self.put(GOAL, goal)

    def report(self) -> dict[str, Any]:
        self.advance()
        return {
            "position": self.position,
            "goal": self.word(GOAL),
            "torque": self.memory[TORQUE],
            "torque_limit": self.word(TORQUE_LIMIT),
            "most_speed": self.most_speed,
            "writes": self.writes,
            "jumps": self.jumps,
        }


class Bus:
    """The wire: takes packets from a pseudo terminal, and lets the servos answer."""

    def __init__(self, link: Path, servos: dict[int, Servo]) -> None:
        self.link, self.servos = link, servos
        self.terminal = self.far = -1
        self.heard = bytearray()

    def plug(self) -> None:
        """Make a terminal, and let the link point at it."""
        self.terminal, self.far = (
            os.openpty()
        )  # the far end stays open: else reading fails until a client comes
        tty.setraw(self.far)
        fresh = self.link.with_suffix(".new")
        fresh.symlink_to(os.ttyname(self.far))
        fresh.replace(self.link)

    def unplug(self) -> None:
        os.close(self.terminal)
        os.close(self.far)
        self.terminal = self.far = -1
        self.heard.clear()

    def hear(self) -> None:
        """Take what was sent, and act on every whole packet."""
        self.heard += os.read(self.terminal, 4096)
        while (start := self.heard.find(b"\xff\xff")) >= 0 and len(self.heard) >= start + 4:
            end = start + 4 + self.heard[start + 3]
            if len(self.heard) < end:
                return
            packet = bytes(self.heard[start + 2 : end])
            del self.heard[:end]
            if packet[-1] == checksum(packet[:-1]):
                self.act(packet[0], packet[2], packet[3:-1])

    def act(self, servo: int, instruction: int, rest: bytes) -> None:
        if instruction == SYNC_READ:
            for each in rest[2:]:
                self.answer(each, self.registers(each, rest[0], rest[1]))
        elif instruction == SYNC_WRITE:
            address, size = rest[:2]
            for at in range(2, len(rest), size + 1):
                self.write(rest[at], address, rest[at + 1 : at + 1 + size])
        elif instruction == READ:
            self.answer(servo, self.registers(servo, rest[0], rest[1]))
        elif instruction == WRITE:
            self.write(servo, rest[0], rest[1:])
            self.answer(servo, b"")
        elif instruction == PING:
            self.answer(servo, b"")

    def living(self, servo: int) -> Servo | None:
        found = self.servos.get(servo)
        return None if found is None or found.dead else found

    def registers(self, servo: int, address: int, size: int) -> bytes:
        if (found := self.living(servo)) is None:
            return b""
        found.advance()
        return bytes(found.memory[address : address + size])

    def write(self, servo: int, address: int, data: bytes) -> None:
        if (found := self.living(servo)) is not None:
            found.write(address, data)

    def answer(self, servo: int, data: bytes) -> None:
        if (found := self.living(servo)) is None:
            return
        time.sleep(found.late_s)
        found.late_s = 0.0
        body = bytes((servo, len(data) + 2, found.errors)) + data
        wrong = found.corrupt > 0
        found.corrupt -= wrong
        os.write(self.terminal, b"\xff\xff" + body + bytes((checksum(body) ^ wrong,)))

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what the test asks."""
        if "unplug" in order:
            self.unplug()
        if "plug" in order:
            self.plug()
        for name, values in order.get("servos", {}).items():
            for key, value in values.items():
                setattr(self.servos[int(name)], key, value)
        return {str(number): servo.report() for number, servo in self.servos.items()}

    def serve(self) -> None:
        """Run until the standard input ends."""
        self.plug()
        print(json.dumps({}), flush=True)
        while True:
            sources = [sys.stdin, *([self.terminal] if self.terminal >= 0 else [])]
            ready, _, _ = select.select(sources, [], [])
            if self.terminal in ready:
                self.hear()
            if sys.stdin in ready:
                line = sys.stdin.readline()
                if not line:
                    return
                print(json.dumps(self.obey(json.loads(line))), flush=True)


def checksum(body: bytes) -> int:
    return ~sum(body) & 0xFF


class So101Peer(AbstractContextManager["So101Peer"]):
    """The emulator's process.

    Args:
        link: where the port is to be.
        servos: of each, by id: `position` and what else `Servo` takes.
    """

    def __init__(self, link: Path, servos: dict[int, dict[str, int]]) -> None:
        self.port = str(link)
        self._process = subprocess.Popen(
            [sys.executable, "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._say({"link": self.port, "servos": {str(number): own for number, own in servos.items()}})

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def servo(self, number: int, **values: Any) -> dict[str, Any]:
        """Set attributes of a servo; return its report."""
        return self._say({"servos": {str(number): values}})[str(number)]

    def reports(self) -> dict[int, dict[str, Any]]:
        """Return what all servos are at."""
        return {int(number): report for number, report in self._say({}).items()}

    def unplug(self) -> None:
        """Close the terminal."""
        self._say({"unplug": True})

    def plug(self) -> None:
        """Open another one under the same name."""
        self._say({"plug": True})

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def _say(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        line = self._process.stdout.readline()
        assert line, "the emulator died"
        return json.loads(line)


if __name__ == "__main__":
    start = json.loads(sys.stdin.readline())
    Bus(Path(start["link"]), {int(number): Servo(**own) for number, own in start["servos"].items()}).serve()
