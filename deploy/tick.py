"""What a controller is given at a tick, and what it says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from robofb.deploy.arms.arm import ArmState, ArmTarget
from robofb.deploy.modes import Ask, Mode
from robofb.deploy.timeline import Target
from robofb.types import TeleopCommand


class Chunk(NamedTuple):
    """What a policy sent.

    Attributes:
        epoch: in which it was asked.
        observed_s: when what it saw was captured.
        actions: (H, 10), whatever else it may be.
    """

    epoch: int
    observed_s: float
    actions: object


@dataclass(frozen=True)
class Arrived:
    """What came since the last tick.

    Attributes:
        asks: of persons.
        chunks: oldest first.
        command: of the person's device; None where there is none or it is lost.
        frames_age_s: age of the newest picture of the camera that is furthest behind; 0 without cameras.
        alone_s: since the supervisor last showed that it lives, without whom nobody can stop the arm.
    """

    asks: Sequence[Ask] = ()
    chunks: Sequence[Chunk] = ()
    command: TeleopCommand | None = None
    frames_age_s: float = 0.0
    alone_s: float = 0.0


class Tick(NamedTuple):
    """What happened at a tick.

    Attributes:
        time_s: when.
        mode, reason, epoch: after it.
        state: of the arm; None where it did not say.
        wanted: before the limiter; None where nothing was.
        sent: what the arm says was sent; None where nothing was.
    """

    time_s: float
    mode: Mode
    reason: str
    epoch: int
    state: ArmState | None
    wanted: Target | None
    sent: ArmTarget | None
