"""Real devices in the device's process of a live session, and somebody at them who does what `say` tells.

Words: deadman, up, close and the events of a session. All is each device's own code but what a person
touches: a virtual joystick inside SDL, key events, a browser's messages.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import numpy as np
from page_clients import socket_of, text
from virtual_devices import VirtualJoystick

from robofb.config import compose
from robofb.deploy.live.device_processes import TeleopSetup
from robofb.deploy.teleop.keyboard import DEADMAN_KEY
from robofb.deploy.teleop.window import EVENT_KEYS, load_pygame
from robofb.interfaces import Teleop
from robofb.types import TELEOP_EVENTS, TeleopCommand

WORDS = ("deadman", "up", "close", *TELEOP_EVENTS)
UNPLUGGED = "unplugged"


def node_of(name: str) -> Any:
    """Return a device's config, as `robofb deploy` reads it."""
    return compose("deploy", ["run=x", f"teleop={name}"]).teleop


class Hands(Protocol):
    """Somebody at a device."""

    def do(self, words: set[str]) -> None:
        """Hold and press these words, and let go of all others."""
        ...

    def close(self) -> None:
        """Go away; safe twice."""
        ...


class PadHands:
    """At a gamepad."""

    def __init__(self, device: Teleop) -> None:
        node = node_of("gamepad")
        self._buttons = {"deadman": node.deadman, "close": node.close, **node.events}
        self._up_axis, self._up_sign = node.axes.z
        self._stick: VirtualJoystick | None = None

    def do(self, words: set[str]) -> None:
        if UNPLUGGED in words:
            self.close()
            return
        if self._stick is None:
            self._stick = VirtualJoystick()
        for word, button in self._buttons.items():
            self._stick.button(button, word in words)
        self._stick.axis(self._up_axis, float(self._up_sign) if "up" in words else 0.0)

    def close(self) -> None:
        if self._stick is not None:
            self._stick.unplug()
        self._stick = None


class KeyHands:
    """At a keyboard."""

    def __init__(self, device: Teleop) -> None:
        self._keys = {"deadman": DEADMAN_KEY, "up": "r", "close": "c"}
        self._keys |= {event: key for key, event in EVENT_KEYS.items()}
        self._held: set[str] = set()

    def do(self, words: set[str]) -> None:
        pygame = load_pygame()
        if not pygame.display.get_init():
            return
        for word in (words ^ self._held) & self._keys.keys():
            kind = pygame.KEYDOWN if word in words else pygame.KEYUP
            pygame.event.post(pygame.event.Event(kind, key=pygame.key.key_code(self._keys[word])))
        self._held = words

    def close(self) -> None:
        self._held = set()


class PageHands:
    """At the web page, in a browser that says ten times a second what is held."""

    def __init__(self, device: Any) -> None:
        self._device, self._words = device, set[str]()
        self._events: list[str] = []
        self._gone = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._browse()), daemon=True)

    def do(self, words: set[str]) -> None:
        self._events += sorted((words - self._words) & set(TELEOP_EVENTS))
        self._words = words
        if self._device.url and not self._thread.is_alive():
            self._thread.start()

    def close(self) -> None:
        self._gone.set()

    async def _browse(self) -> None:
        began_s, number = asyncio.get_running_loop().time(), 0
        async with aiohttp.ClientSession() as session, socket_of(session, self._device.url) as socket:
            while not self._gone.is_set():
                words, number = self._words, number + 1
                t_ms = 1000 * (asyncio.get_running_loop().time() - began_s)
                said = {"linear": [0, 0, int("up" in words)], "gripper": int("close" in words)}
                event = self._events.pop(0) if self._events else ""
                await socket.send_str(
                    text(seq=number, t_ms=t_ms, engaged="deadman" in words, event=event, **said)
                )
                await asyncio.sleep(0.1)


HANDS = {"gamepad": PadHands, "keyboard": KeyHands, "web": PageHands}


@dataclass
class Handled:
    """A device with somebody at it. Satisfies `interfaces.Teleop`."""

    device: Teleop
    hands: Hands
    folder: Path

    def connect(self) -> None:
        self._touch()
        self.device.connect()

    def read(self) -> TeleopCommand:
        self._touch()
        return self.device.read()

    def show(self, frames: Mapping[str, np.ndarray], status: Mapping[str, str]) -> None:
        self.device.show(frames, status)
        (self.folder / "shown").write_text(" | ".join(status.values()))

    def close(self) -> None:
        self.hands.close()
        self.device.close()

    def _touch(self) -> None:
        self.hands.do({word for word in (*WORDS, UNPLUGGED) if (self.folder / word).exists()})


@dataclass(frozen=True)
class HandledSetup(TeleopSetup):
    """Makes a device with somebody at it, in the device's process."""

    name: str = "gamepad"
    folder: Path = field(default_factory=Path)

    def make(self) -> Handled:
        device = super().make()
        return Handled(device, HANDS[self.name](device), self.folder)


def handled(name: str, folder: Path) -> HandledSetup:
    """Return the setup of a device of `robofb deploy teleop=<name>`."""
    from robofb.deploy.live.deployment import plain

    return HandledSetup(plain(node_of(name)), name, folder)
