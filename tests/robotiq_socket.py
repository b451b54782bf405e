"""A fake Robotiq gripper: what its URCap serves on a control box."""

from __future__ import annotations

import asyncio

PORT_GRIPPER = 63352
STEP = 25  # by which the fingers move at each question for their position


class Fingers:
    """Fingers that move whenever somebody looks.

    Attributes:
        values: of the variables, by name; those in small letters are no variables, but say how it behaves:
            `mute`, it says nothing; `block`, what is between the fingers.
        sets: how often it was told something.
    """

    def __init__(self) -> None:
        self.values = {"ACT": 1, "GTO": 0, "STA": 3, "FLT": 0, "OBJ": 3, "POS": 3, "PRE": 3}
        self.values |= {"SPE": 0, "FOR": 0, "mute": 0, "block": 255, "jammed": 0}
        self.sets = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer; "ack" has no end of line."""
        while line := await reader.readline():
            word, *rest = line.decode().split()
            if self.values["mute"]:
                continue
            if word == "SET":
                self._set(dict(zip(rest[::2], map(int, rest[1::2]), strict=True)))
                writer.write(b"ack")
            else:
                self._move()
                writer.write(f"{rest[0]} {self.values[rest[0]]}\n".encode())
        writer.close()

    def _set(self, values: dict[str, int]) -> None:
        self.sets += 1
        self.values["PRE"] = values.pop("POS")
        self.values |= values

    def _move(self) -> None:
        values = self.values
        if not values["GTO"] or values["jammed"]:
            values["OBJ"] = 0 if values["jammed"] else values["OBJ"]
            return
        way = max(-STEP, min(STEP, values["PRE"] - values["POS"]))
        place = values["POS"] + way
        values["OBJ"] = 3 if way == 0 else 0
        if place > values["block"]:
            place, values["OBJ"] = values["block"], 2
        values["POS"] = place
