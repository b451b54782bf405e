"""The port on which a fake UR streams what it does and takes registers: RTDE v2."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

PORT_RTDE = 30004
FORMATS = {"DOUBLE": "d", "VECTOR6D": "6d", "INT32": "i", "UINT32": "I"}
OUTPUTS = {
    "timestamp": "DOUBLE",
    "actual_q": "VECTOR6D",
    "actual_TCP_pose": "VECTOR6D",
    "actual_TCP_force": "VECTOR6D",
    "robot_mode": "INT32",
    "safety_mode": "INT32",
    "runtime_state": "UINT32",
    "robot_status_bits": "UINT32",
    "safety_status_bits": "UINT32",
    **{f"output_int_register_{i}": "INT32" for i in range(3)},
    **{f"output_double_register_{i}": "DOUBLE" for i in range(6)},
}
INPUTS = {
    "external_force_torque": "VECTOR6D",
    **{f"input_int_register_{i}": "INT32" for i in range(24)},
    **{f"input_double_register_{i}": "DOUBLE" for i in range(24)},
}


class Rtde(asyncio.Protocol):
    """One connection.

    Args:
        robot: a `ur_box.Robot`.
    """

    def __init__(self, robot: Any) -> None:
        self.robot, self.buffer = robot, b""
        self.outputs: list[str] = []
        self.recipes: list[list[str]] = []
        self.hz, self.due_s, self.started = 125.0, 0.0, False

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.robot.clients.add(self)

    def connection_lost(self, error) -> None:
        self.robot.clients.discard(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 3 and len(self.buffer) >= (size := struct.unpack(">H", self.buffer[:2])[0]):
            kind, body, self.buffer = self.buffer[2:3], self.buffer[3:size], self.buffer[size:]
            if kind == b"U":
                self.take(body)
            else:
                self.send(kind, self.answer(kind, body))

    def send(self, kind: bytes, body: bytes) -> None:
        self.transport.write(struct.pack(">H", len(body) + 3) + kind + body)

    def answer(self, kind: bytes, body: bytes) -> bytes:
        """Return the body of the answer to a request."""
        if kind == b"v":
            return struct.pack(">4I", 5, 11, 0, 108249)
        if kind == b"O":
            self.hz = struct.unpack(">d", body[:8])[0]
            self.outputs = names_of(body[8:])
            return b"\x01" + ",".join(OUTPUTS.get(name, "NOT_FOUND") for name in self.outputs).encode()
        if kind == b"I":
            if any(client.recipes for client in self.robot.clients if client is not self):
                return b"\x00IN_USE"  # one client alone may command
            self.recipes.append(names_of(body))
            types = ",".join(INPUTS.get(name, "NOT_FOUND") for name in self.recipes[-1])
            return bytes([len(self.recipes)]) + types.encode()
        if kind in (b"S", b"P"):
            self.started = kind == b"S"
        return b"\x01"

    def take(self, body: bytes) -> None:
        """Write what the client sends into the registers."""
        names = self.recipes[body[0] - 1]
        values = struct.unpack(">" + "".join(FORMATS[INPUTS[name]] for name in names), body[1:])
        self.robot.hear(dict(zip(names, values, strict=False)))

    def stream(self, now_s: float) -> None:
        """Send the outputs, where they are due."""
        if not self.started or self.robot.frozen or now_s < self.due_s:
            return
        self.due_s = max(self.due_s + 1.0 / self.hz, now_s - 1.0 / self.hz)
        body = b"\x01"
        for name in self.outputs:
            body += struct.pack(">" + FORMATS[OUTPUTS[name]], *self.robot.value(name, now_s))
        self.send(b"U", body)


def names_of(body: bytes) -> list[str]:
    """Return the names in a list of RTDE."""
    return [name for name in body.decode().split(",") if name]
