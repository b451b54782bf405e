"""A person drives a cell and keeps the episodes that went well. Knows no simulator and no device."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import numpy as np

from robofb.deploy.cell import Cell
from robofb.deploy.tool_target import ToolTarget
from robofb.deploy.trace import Trace
from robofb.errors import DeviceLostError, UserError
from robofb.interfaces import Teleop
from robofb.rng import derive_seeds
from robofb.store.episodes import EpisodeStore
from robofb.types import TeleopCommand

LOG = logging.getLogger(__name__)


class Phase(Enum):
    """Where a session stands; the values are what the person reads."""

    IDLE = "not recording"
    RECORDING = "recording"
    PAUSED = "paused"
    SOLVED = "solved"
    FAILED = "failed"


@dataclass
class SessionResult:
    """What a session did.

    Attributes:
        kept: episodes saved now.
        discarded: recordings thrown away now.
    """

    kept: int = 0
    discarded: int = 0


class Session:
    """Drive `cell` from `teleop` at the cell's control rate, and append what succeeds to `store`.

    The arm moves, and steps are recorded, only while the dead-man switch is held; else it holds
    still. A recording ends when the task's own test or the person says success. It then waits
    `grace_s` for a discard or an undo before it is saved; whatever ends the session saves it too.

    Args:
        cell: the workplace; the caller closes it.
        teleop: a connected device; the caller closes it.
        store: open for append.
        target: turns twists into actions.
        episodes: the session ends when the store holds so many.
        seed: of the start states.
        meta: JSON-ready facts of every episode.
        now, sleep: the clock [s].
        grace_s: time in which a success may still be discarded.
        undo_s: how much an undo takes back.
        patience_s: how long to wait for a lost device.
    """

    def __init__(
        self,
        cell: Cell,
        teleop: Teleop,
        store: EpisodeStore,
        target: ToolTarget,
        *,
        episodes: int,
        seed: int = 0,
        meta: Mapping[str, Any] | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        grace_s: float = 3.0,
        undo_s: float = 1.0,
        patience_s: float = 300.0,
    ) -> None:
        self.cell, self.teleop, self.store, self.target = cell, teleop, store, target
        self.episodes, self.meta = episodes, dict(meta or {})
        self.now, self.sleep = now, sleep
        self.grace_s, self.undo_s, self.patience_s = grace_s, undo_s, patience_s
        self.result = SessionResult()
        self.phase = Phase.IDLE
        self._dt_s = cell.spec.control_dt
        self._start_seed = int(derive_seeds(seed, len(store)))  # a continued dataset gets new start states
        self._attempts = 0
        self._moving = self._quit = False
        self._ended_s = 0.0
        self._lost_since_s: float | None = None
        self._message = "press start to record"
        self._handlers: dict[str, Callable[[], None]] = {
            "start": self._on_start,
            "success": self._on_success,
            "discard": self._on_discard,
            "undo": self._on_undo,
            "pause": self._on_pause,
            "quit": self._on_quit,
        }

    def run(self) -> SessionResult:
        """Drive until the store holds enough episodes or the person quits; Ctrl-C loses nothing finished.

        Raises:
            UserError: the device stayed lost, or an episode cannot be saved.
        """
        self._reset()
        due_s = self.now()
        try:
            while not self._quit and len(self.store) < self.episodes:
                self._tick()
                due_s += self._dt_s
                wait_s = due_s - self.now()
                if wait_s > 0:
                    self.sleep(wait_s)
                    continue
                if self._moving and wait_s < -0.5 * self._dt_s:
                    self._late_steps += 1
                due_s = self.now()  # never catch up in a burst
        finally:
            self._close_attempt()
        return self.result

    def _tick(self) -> None:
        """Do one control period: read, move or hold, show."""
        command = self._read()
        if command is not None and command.event:
            self._handlers[command.event]()
        moving = command is not None and command.engaged and self.phase in (Phase.IDLE, Phase.RECORDING)
        if command is not None and moving:
            self._move(command)
        else:
            self._state = self.cell.hold()
        self._moving = moving
        if self.phase is Phase.SOLVED and self.now() - self._ended_s >= self.grace_s:
            self._keep()
        self.teleop.show(self.cell.frames(), self._status())

    def _read(self) -> TeleopCommand | None:
        """Return the person's command; None, which holds the arm, where there is no sound one."""
        try:
            command = self.teleop.read()
        except DeviceLostError as error:
            self._on_lost(error)
            return None
        if self._lost_since_s is not None:
            self._lost_since_s = None
            self._say("the device is back; press pause to go on" if self._trace else "the device is back")
        twist = np.asarray(command.twist, np.float64)
        if twist.shape != (6,) or not np.isfinite([*twist, command.gripper]).all():
            self._say("the device sent a twist that is not finite: holding still")
            return None
        if command.event and command.event not in self._handlers:
            raise ValueError(f"event must be one of {', '.join(self._handlers)}, not {command.event!r}")
        return command

    def _on_lost(self, error: DeviceLostError) -> None:
        if self._lost_since_s is None:
            self._lost_since_s = self.now()
            if self.phase is Phase.RECORDING:
                self.phase = Phase.PAUSED
            self._say(f"{error}: holding still until it is back (Ctrl-C ends)")
        elif self.now() - self._lost_since_s > self.patience_s:
            raise UserError(f"{error}; gave up after {self.patience_s:g} s")

    def _move(self, command: TeleopCommand) -> None:
        """Step the cell by the person's twist; on the first step start from where the arm is."""
        if not self._moving:
            self._state = self.cell.hold()  # what is seen now, not before a pause
            self.target.engage(self._state)
            if self._trace is not None:
                self._trace.refresh(self._state)
        action = self.target.move(command, self._dt_s, self._state)
        self._state = self.cell.step(action)
        if self._trace is None:
            return
        self._trace.add(action, self._state, self._mark())
        if self._state.success:
            self._end(Phase.SOLVED, "task")
        elif self._state.failed:
            self._end(Phase.FAILED, "task")

    def _reset(self) -> None:
        """Bring the cell to the next start state."""
        self._state = self.cell.reset(int(derive_seeds(self._start_seed, self._attempts)))
        self._attempts += 1
        self.target.reset(self._state)
        self._trace: Trace | None = None
        self._late_steps, self._judge, self._began = 0, "", ""
        self._moving = False

    def _mark(self) -> Any:
        return self.cell.snapshot() if self.cell.rewinds else None, self.target.pose

    def _end(self, phase: Phase, judge: str) -> None:
        self.phase, self._judge, self._ended_s = phase, judge, self.now()
        if phase is Phase.SOLVED:
            self._say(f"success: saved in {self.grace_s:g} s; discard or undo to refuse it")
        else:
            self._say("the task can no longer be solved: undo, or discard")

    def _on_start(self) -> None:
        if self.phase is Phase.PAUSED:
            self._on_pause()
        elif self.phase is not Phase.RECORDING:
            self._close_attempt()
            if len(self.store) >= self.episodes:
                return
            self._reset()
            self._trace = Trace([self._state], [self._mark()])
            self._began = datetime.now(UTC).isoformat(timespec="seconds")
            self.phase = Phase.RECORDING
            self._say("recording: hold the dead-man switch and drive")

    def _on_success(self) -> None:
        if self.phase is Phase.SOLVED:
            self._keep()
        elif self._trace and self.phase in (Phase.RECORDING, Phase.PAUSED):
            self._end(Phase.SOLVED, "person")
        else:
            self._say("nothing is recorded that could be a success")

    def _on_discard(self) -> None:
        if self._trace is not None:
            self._drop("discarded; press start for the next")

    def _on_undo(self) -> None:
        if self._trace is None:
            return
        steps = min(len(self._trace), round(self.undo_s / self._dt_s))
        snapshot, pose = self._trace.undo(steps)
        self.target.pose = pose
        if self.cell.rewinds:
            self._state = self.cell.restore(snapshot)
        self._moving = False
        self.phase = Phase.RECORDING
        self._say(f"took back {steps * self._dt_s:.1f} s")

    def _on_pause(self) -> None:
        if self.phase is Phase.RECORDING:
            self.phase = Phase.PAUSED
            self._say("paused; press pause to go on")
        elif self.phase is Phase.PAUSED:
            self.phase = Phase.RECORDING
            self._moving = False
            self._say("recording")

    def _on_quit(self) -> None:
        self._quit = True

    def _close_attempt(self) -> None:
        """Save what succeeded, throw away what did not end."""
        if self.phase is Phase.SOLVED:
            self._keep()
        elif self._trace is not None:
            self._drop("an unfinished recording was discarded")

    def _keep(self) -> None:
        assert self._trace is not None
        facts = {
            "success_by": self._judge,
            "recorded_at": self._began,
            "late_steps": self._late_steps,
        }
        trace, self._trace, self.phase = self._trace, None, Phase.IDLE
        self.store.append(trace.episode(True, {**self.meta, **self.cell.facts(), **facts}))
        self.result.kept += 1
        self._say(f"saved episode {len(self.store)} of {self.episodes}; press start for the next")

    def _drop(self, message: str) -> None:
        self.result.discarded += bool(self._trace)
        self._trace, self.phase = None, Phase.IDLE
        self._say(message)

    def _say(self, message: str) -> None:
        if message != self._message:
            LOG.info("%s", message)
        self._message = message

    def _status(self) -> dict[str, str]:
        steps = len(self._trace) if self._trace is not None else 0
        pose = self.target.pose
        return {
            "state": self.phase.value,
            "message": self._message,
            "episodes": f"{len(self.store)} of {self.episodes}",
            "discarded": str(self.result.discarded),
            "recorded": f"{steps * self._dt_s:.1f} s",
            "gripper": "closed" if pose is not None and pose.gripper > 0 else "open",
        }
