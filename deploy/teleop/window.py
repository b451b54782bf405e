"""A window that shows a person the cameras and hears the keys that every local device shares."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robofb.errors import DeviceLostError, UserError

EVENT_KEYS = {
    "return": "start",
    "y": "success",
    "backspace": "discard",
    "z": "undo",
    "p": "pause",
    "escape": "quit",
}
SIZE_PX = (960, 640)
_LINE_PX = 22
_BACKGROUND, _TEXT, _DIM, _RECORDING = (24, 26, 30), (235, 235, 235), (160, 164, 172), (224, 82, 70)


def load_pygame() -> Any:
    """Import pygame.

    Raises:
        UserError: it is not installed.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")  # a gamepad drives without the focus
    try:
        import pygame
    except ImportError as error:
        raise UserError("this device needs pygame: pip install 'robofb[teleop]'") from error
    return pygame


def _check_seen(pygame: Any) -> None:
    """Raise pygame.error where SDL found no display and would draw for nobody, unless it was told to."""
    driver = pygame.display.get_driver()
    if driver in ("dummy", "offscreen") and driver not in os.environ.get("SDL_VIDEODRIVER", "").split(","):
        raise pygame.error("SDL found none")


class Window:
    """Pictures side by side, facts below, the keys beside them.

    Args:
        device: its name, for the title and refusals.
        guide: lines that say how to drive.

    Attributes:
        pygame: the module, once the window was opened.
    """

    def __init__(self, device: str, guide: Sequence[str]) -> None:
        self.device = device
        self.guide = [*guide, *(f"{key}: {event}" for key, event in EVENT_KEYS.items())]
        self.pygame: Any = None
        self._screen: Any = None
        self._font: Any = None
        self._events: deque[str] = deque()

    def open(self) -> None:
        """Open the window.

        Raises:
            UserError: no pygame, or no display here.
        """
        if self._screen is not None:
            return
        pygame = load_pygame()
        try:
            pygame.display.init()
            pygame.font.init()
            _check_seen(pygame)
            self._screen = pygame.display.set_mode(SIZE_PX, pygame.RESIZABLE)
        except pygame.error as error:
            pygame.display.quit()
            raise UserError(f"teleop={self.device} needs a display ({error}); use teleop=web") from error
        pygame.display.set_caption(f"robofb collect: {self.device}")
        self._font = pygame.font.Font(None, _LINE_PX)
        self.pygame = pygame
        self._event_keys = {pygame.key.key_code(name): event for name, event in EVENT_KEYS.items()}
        print("\n".join([f"Drive with the {self.device}:", *(f"  {line}" for line in self.guide)]))

    def poll(self) -> list[Any]:
        """Return what happened since the last call; session events are kept for `take_event`.

        Raises:
            DeviceLostError: the window is not open.
        """
        if self._screen is None:
            raise DeviceLostError(f"the {self.device} is not connected")
        happened = self.pygame.event.get()
        for event in happened:
            if event.type == self.pygame.QUIT:
                self._events.append("quit")
            elif event.type == self.pygame.KEYDOWN and event.key in self._event_keys:
                self._events.append(self._event_keys[event.key])
        return list(happened)

    def push_event(self, event: str) -> None:
        """Queue a session event that another input made."""
        self._events.append(event)

    def take_event(self) -> str:
        """Return the oldest session event, once; "" where there is none."""
        return self._events.popleft() if self._events else ""

    def show(self, frames: Mapping[str, np.ndarray], status: Mapping[str, str]) -> None:
        """Draw pictures (H, W, 3) uint8 and facts; nothing while the window is closed."""
        if self._screen is None:
            return
        self._screen.fill(_BACKGROUND)
        bottom = self._draw_frames(frames)
        recording = status.get("state") == "recording"
        for row, (name, text) in enumerate(status.items()):
            colour = _RECORDING if recording and name == "state" else _TEXT
            self._write(f"{name}: {text}", 12, bottom + 10 + row * _LINE_PX, colour)
        for row, line in enumerate(self.guide):
            self._write(line, self._screen.get_width() // 2, bottom + 10 + row * _LINE_PX, _DIM)
        self.pygame.display.flip()

    def close(self) -> None:
        """Close the window; safe twice."""
        if self._screen is not None:
            self._screen = None
            self._events.clear()
            self.pygame.display.quit()

    def _draw_frames(self, frames: Mapping[str, np.ndarray]) -> int:
        """Draw the pictures in one row as large as they fit; return where the row ends [px]."""
        width, height = self._screen.get_size()
        space_px = max(height - (len(self.guide) + 1) * _LINE_PX, height // 3), width // max(len(frames), 1)
        bottom = 0
        for column, (name, frame) in enumerate(frames.items()):
            rows, columns = frame.shape[:2]
            scale = min(space_px[0] / rows, space_px[1] / columns)
            size = max(int(columns * scale), 1), max(int(rows * scale), 1)
            picture = self.pygame.image.frombuffer(
                np.ascontiguousarray(frame).tobytes(), (columns, rows), "RGB"
            )
            left = column * space_px[1]
            self._screen.blit(self.pygame.transform.smoothscale(picture, size), (left, 0))
            self._write(name, left + 8, 8, _TEXT)
            bottom = max(bottom, size[1])
        return bottom

    def _write(self, text: str, left: int, top: int, colour: tuple[int, int, int]) -> None:
        self._screen.blit(self._font.render(text, True, colour), (left, top))
