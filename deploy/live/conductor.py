"""What a session of episodes asks for next: pure decisions, of what was just seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from robofb.deploy.live.records import Order, Seen
from robofb.deploy.modes import ARMED, Ask, Mode
from robofb.rng import derive_seeds

EVENTS = ("start", "success", "failure", "discard", "pause", "stop", "quit")
"""What a person may say: go on, acknowledging what is wrong; how the episode ended; hold; stop; the end."""


LABELS = {"success": "success", "failure": "failure", "discard": "discarded"}
"""What an episode is called that a person ended so."""

LEFT = "a person ended the session"

ASK_S = 1.0  # after which what was asked in vain will not come


@dataclass(frozen=True)
class Ended:
    """How an episode ended.

    Attributes:
        episode, seed: which.
        label: success, failure, discarded or aborted.
        why: in words.
        steps: control steps of it.
    """

    episode: int
    seed: int
    label: str
    why: str
    steps: int

    @property
    def judged(self) -> bool:
        """Whether it counts: a person neither threw it away nor ended the session in it."""
        return self.label != "discarded" and self.why != LEFT


class Stage(Enum):
    """Where a session stands; the values are what a person reads."""

    WAITING = "waiting for a start"
    ARMING = "arming"
    RUNNING = "running"
    LEAVING = "coming to rest"
    OVER = "over"


class Conductor:
    """Bring an arm through episodes: begin, arm, go home, run, judge, rest, and so on.

    Attended, a person starts each, goes on after a hold and acknowledges faults. Unattended they follow one
    another, and whatever stops the policy ends the episode; a fault ends the session. Driven, there is no
    policy: at home an episode runs at once, and the person takes the arm and lets it go as they like.

    Args:
        episodes: how many; driven, how many successes.
        seed: of the first episode's start, and of the policy's noise in it.
        attended: somebody is there.
        max_steps: control steps after which an episode has failed.
        abort_s: an episode is aborted where a camera shows nothing new for longer.
        driven: nobody but a person drives, who attends.

    Attributes:
        ended: of each episode so far.
        stage: where the session stands.
        quits: a person ended it.
        lost: episodes that could not be recorded.
    """

    def __init__(
        self,
        episodes: int,
        seed: int,
        *,
        attended: bool,
        max_steps: int,
        abort_s: float = 1.0,
        driven: bool = False,
    ) -> None:
        if driven and not attended:
            raise ValueError("driven: who drives attends")
        self.episodes, self.seed, self.attended, self.driven = episodes, seed, attended, driven
        self.max_steps, self.abort_s = max_steps, abort_s
        self.ended: list[Ended] = []
        self.lost: set[int] = set()
        self.stage = Stage.WAITING
        self._asked: Ask | None = None
        self._asked_s = 0.0
        self._told = False  # to go on, and nothing was done about it yet
        self._homed = False  # in this episode, on the way to its begin
        self._mode = Mode.DISARMED
        self.quits, self._quit_s = False, 0.0

    @property
    def number(self) -> int:
        """Of the present episode, or the next."""
        return len(self.ended)

    @property
    def successes(self) -> int:
        """Episodes that succeeded so far."""
        return sum(each.label == "success" for each in self.ended)

    @property
    def _done(self) -> int:
        """Episodes so far of those that shall be: demonstrations are there to be kept."""
        if not self.driven:
            return self.number
        return sum(each.label == "success" and each.episode not in self.lost for each in self.ended)

    def step(self, now_s: float, seen: Seen, ready: bool, events: Sequence[str]) -> list[Order]:
        """Return what to order now.

        Args:
            now_s: the time.
            seen: the newest tick.
            ready: the policy plans, and all cameras show something.
            events: of persons since the last step; see `EVENTS`.
        """
        if seen.mode is not self._mode:
            self._mode, self._asked = seen.mode, None
        if "quit" in events and not self.quits:
            self.quits, self._quit_s = True, now_s
        if "stop" in events:
            return self._stop(seen)
        steps: dict[Stage, Callable[[float, Seen, bool, Sequence[str]], list[Order]]] = {
            Stage.WAITING: self._wait,
            Stage.ARMING: self._arm,
            Stage.RUNNING: self._run,
            Stage.LEAVING: self._leave,
        }
        return steps[self.stage](now_s, seen, ready, events) if self.stage in steps else []

    def wait_for_arm(self, events: Sequence[str]) -> list[Order]:
        """Return what to order while the arm has said nothing yet, so that nothing must come to rest."""
        stops = "stop" in events
        self._told = (self._told or "start" in events) and not stops
        self.quits = self.quits or "quit" in events or (stops and not self.attended)
        if self.quits:
            self.stage = Stage.OVER
        return [_ask(Ask.STOP)] if stops else []

    def _stop(self, seen: Seen) -> list[Order]:
        """Stop the arm, and take back what was not begun yet; unattended, that ends the session.

        It is asked of an arm that is not armed too: what it was asked just before may be on its way.
        """
        self._told, self.quits = False, self.quits or not self.attended
        begins = self.stage is Stage.ARMING and seen.mode not in ARMED
        return [_ask(Ask.STOP), *(self._end(seen, "discarded", "a person stopped it") if begins else [])]

    def _wait(self, now_s: float, seen: Seen, ready: bool, events: Sequence[str]) -> list[Order]:
        """Begin the next episode when all is there for it."""
        if self.quits or self._done >= self.episodes:
            self.stage = Stage.OVER
            return []
        self._told = self._told or "start" in events
        if not ((self._told or not self.attended) and ready and seen.linked):
            return []
        self.stage, self._asked, self._homed = Stage.ARMING, None, False
        return [Order("begin", "", self.number, self._seed)]

    def _arm(self, now_s: float, seen: Seen, ready: bool, events: Sequence[str]) -> list[Order]:
        """Bring the arm to where the episode begins, and let the policy go."""
        if self.quits:
            return self._end(seen, "discarded", "it was not begun")
        if seen.episode != self.number:
            return []  # the arm's process has not begun it yet
        self._homed = self._homed or seen.mode is Mode.HOMING
        if self.driven and seen.mode is Mode.HUMAN and not (seen.at_home or self._homed):
            return [_ask(Ask.HOLD), _ask(Ask.HOME)]  # who holds the switch already has it again at home
        if seen.mode in (Mode.POLICY, Mode.HUMAN):
            self.stage = Stage.RUNNING
            return []
        at_rest = Ask.RUN if seen.at_home else Ask.HOME
        asks = {
            Mode.DISARMED: Ask.ACKNOWLEDGE if self._asked in (Ask.ARM, Ask.ACKNOWLEDGE) else Ask.ARM,
            Mode.FAULT: Ask.ACKNOWLEDGE,
            Mode.READY: at_rest,
            Mode.HOLD: at_rest,
        }
        ask = asks.get(seen.mode)
        if ask is None or (ask is Ask.RUN and not ready):
            return []
        if ask is Ask.RUN and self.driven:
            self.stage = Stage.RUNNING
            return []
        told = self._told = self._told or "start" in events
        waited = self._asked is None or now_s - self._asked_s > ASK_S
        if (ask is Ask.ACKNOWLEDGE or ask is self._asked) and not told:  # that is for a person to decide
            return self._end(seen, "aborted", seen.reason) if waited and not self.attended else []
        if not waited:
            return []
        self._asked, self._asked_s, self._told = ask, now_s, False
        return [_ask(ask)]

    def _run(self, now_s: float, seen: Seen, ready: bool, events: Sequence[str]) -> list[Order]:
        """Let the policy, or a person, go on until the episode is over."""
        told = [event for event in events if event in LABELS]
        if seen.verdict:
            return self._end(seen, seen.verdict, "the task")
        if told:
            return self._end(seen, LABELS[told[0]], "a person")
        if self.quits:
            return self._end(seen, "aborted", LEFT)
        if seen.mode in (Mode.FAULT, Mode.DISARMED):
            return self._end(seen, "aborted", seen.reason)
        if seen.frames_age_s > self.abort_s:
            return self._end(seen, "aborted", f"a camera shows nothing new for {seen.frames_age_s:.1f} s")
        if seen.steps > self.max_steps:  # the step after the last has begun
            return self._end(seen, "failure", "time")
        if "pause" in events and seen.mode in (Mode.POLICY, Mode.HUMAN):
            return [_ask(Ask.HOLD)]
        if seen.mode in (Mode.HOLD, Mode.READY) and not self.driven:
            if not self.attended:
                return self._end(seen, "aborted", seen.reason)
            return [_ask(Ask.RUN)] if "start" in events and ready else []
        return []

    def _leave(self, now_s: float, seen: Seen, ready: bool, events: Sequence[str]) -> list[Order]:
        """Let the arm come to rest, and let it go."""
        if seen.mode is Mode.DISARMED:
            self.stage = Stage.WAITING
        elif seen.mode is Mode.FAULT:
            self.stage = Stage.WAITING if self.attended and not self.quits else Stage.OVER
        elif seen.mode in (Mode.READY, Mode.HOLD) and seen.at_rest and self._asked is not Ask.DISARM:
            self._asked = Ask.DISARM
            return [_ask(Ask.DISARM)]
        elif seen.mode in (Mode.POLICY, Mode.HOMING) and self._asked is not Ask.HOLD:
            self._asked = Ask.HOLD
            return [_ask(Ask.HOLD)]
        elif seen.mode is Mode.HUMAN and self.quits and now_s - self._quit_s > ASK_S:
            return [_ask(Ask.STOP)]  # who holds the switch has taken over again
        return []

    @property
    def _seed(self) -> int:
        return int(derive_seeds(self.seed, self.number))

    def _end(self, seen: Seen, label: str, why: str) -> list[Order]:
        """End the episode as it is labelled."""
        self.stage, self._asked = Stage.LEAVING, None
        order = Order("end", label, self.number, self._seed, why)
        self.ended.append(Ended(self.number, self._seed, label, why, seen.steps))
        if seen.mode in (Mode.POLICY, Mode.HUMAN, Mode.HOMING):
            self._asked = Ask.HOLD
            return [_ask(Ask.HOLD), order]
        return [order]


def _ask(ask: Ask) -> Order:
    return Order("ask", ask.value)
