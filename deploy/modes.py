"""What an arm may do at present, and who may change that."""

from __future__ import annotations

from enum import Enum


class Mode(Enum):
    """What the controller does with the arm; the values are what a person reads."""

    DISARMED = "disarmed"  # commands nothing
    HOMING = "homing"  # goes to the home pose
    READY = "ready"  # stands, and may begin
    POLICY = "policy"  # follows plans
    HUMAN = "human"  # follows a person
    HOLD = "hold"  # stands, until somebody says how to go on
    STOPPING = "stopping"  # brakes, and is then at fault
    FAULT = "fault"  # commands nothing until a person has acknowledged


class Ask(Enum):
    """A change that a person or the controller asks for."""

    ARM = "arm"
    HOME = "home"
    ARRIVED = "arrived"
    RUN = "run"
    TAKE = "take over"
    RELEASE = "release"
    HOLD = "hold"
    STOP = "stop"
    AT_REST = "at rest"
    FAIL = "fail"
    LOSE = "lost the link"
    ACKNOWLEDGE = "acknowledge"
    DISARM = "disarm"


ARMED = frozenset({Mode.HOMING, Mode.READY, Mode.POLICY, Mode.HUMAN, Mode.HOLD})
COMMANDING = ARMED | {Mode.STOPPING}
WAYS: dict[Ask, tuple[frozenset[Mode], Mode]] = {  # from where, to where
    Ask.ARM: (frozenset({Mode.DISARMED}), Mode.READY),
    Ask.HOME: (frozenset({Mode.READY, Mode.HOLD}), Mode.HOMING),
    Ask.ARRIVED: (frozenset({Mode.HOMING}), Mode.READY),
    Ask.RUN: (frozenset({Mode.READY, Mode.HOLD}), Mode.POLICY),
    Ask.TAKE: (frozenset({Mode.READY, Mode.POLICY, Mode.HOLD}), Mode.HUMAN),
    Ask.RELEASE: (frozenset({Mode.HUMAN}), Mode.HOLD),
    Ask.HOLD: (frozenset({Mode.HOMING, Mode.POLICY, Mode.HUMAN}), Mode.HOLD),
    Ask.STOP: (ARMED, Mode.STOPPING),
    Ask.AT_REST: (frozenset({Mode.STOPPING}), Mode.FAULT),
    Ask.FAIL: (COMMANDING, Mode.FAULT),
    Ask.LOSE: (COMMANDING | {Mode.FAULT}, Mode.DISARMED),
    Ask.ACKNOWLEDGE: (frozenset({Mode.FAULT, Mode.DISARMED}), Mode.READY),
    Ask.DISARM: (frozenset({Mode.READY, Mode.HOLD, Mode.FAULT}), Mode.DISARMED),
}


class Modes:
    """The present mode, and why it is that.

    Attributes:
        mode: at first DISARMED.
        reason: of the last change; empty at first.
    """

    def __init__(self) -> None:
        self.mode, self.reason = Mode.DISARMED, ""

    def ask(self, what: Ask, reason: str = "") -> bool:
        """Change the mode as asked, and say whether that was possible; else nothing changes."""
        sources, goal = WAYS[what]
        if self.mode not in sources:
            return False
        self.mode, self.reason = goal, reason or what.value
        return True
