"""The loop that alone commands an arm: at each tick one look, one decision, one set-point.

It knows no process and no device: it is given what arrived since the last tick, and the time. So it runs in
real time beside other processes as in a simulated second, and a test can put every fault in its way.
"""

from __future__ import annotations

from collections import Counter, deque

from robofb.deploy.arms.arm import ArmError, ArmState, ArmTarget, LinkLostError, RobotArm
from robofb.deploy.clutch import Clutch
from robofb.deploy.limits import Limits
from robofb.deploy.modes import ARMED, COMMANDING, Ask, Mode, Modes
from robofb.deploy.motion import MotionLimiter
from robofb.deploy.pose import Pose, angle_between, difference, length
from robofb.deploy.safety import ChunkGate
from robofb.deploy.tick import Arrived, Chunk, Tick
from robofb.deploy.timeline import OLD_EPOCH, Target, TimedPlan, Timeline
from robofb.deploy.watch import ArmWatch, Watch
from robofb.errors import UserError
from robofb.types import TeleopCommand

_REMEMBERED_S = 3.0  # how old an observation may be whose plan can still be judged
_STUCK_S = 1.0  # who rests for longer on the way home does not get there
_ARRIVED_M, _ARRIVED_RAD = 1e-4, 1e-3


class Controller:
    """Watch an arm, and follow plans or a person within limits.

    Args:
        arm: connected; the caller closes it.
        limits: of what it may be asked to do.
        dt_s: between ticks [s].
        action_dt_s: between the actions of a chunk [s].
        timeline: what plans are followed by.
        watch: when something is wrong.
        gate: judges chunks; None for one of these limits.

    Attributes:
        modes: what the arm may do at present.
        counts: what was clamped, refused, late and so on, by name.
    """

    def __init__(
        self,
        arm: RobotArm,
        limits: Limits,
        dt_s: float,
        action_dt_s: float,
        timeline: Timeline,
        watch: Watch | None = None,
        gate: ChunkGate | None = None,
    ) -> None:
        self.arm, self.limits, self.dt_s, self.action_dt_s = arm, limits, dt_s, action_dt_s
        self.timeline, self.watch = timeline, watch or Watch()
        self.modes, self.gate = Modes(), gate or ChunkGate(limits, action_dt_s)
        self._own: Counter[str] = Counter()
        self._limiter: MotionLimiter | None = None
        self._gripper = -1.0
        self._taken: Pose | None = None  # the last set-point, as the arm says it took it
        self._arm_watch = ArmWatch(self.watch)
        self._clutch = Clutch(self.watch.lead_m, self.watch.lead_rad)
        self._sent: deque[tuple[float, Pose]] = deque(maxlen=max(2, round(_REMEMBERED_S / dt_s)))
        self._refused_in_a_row = 0
        self._ticked_s = self._ran_s = self._heard_s = self._moved_s = float("-inf")

    @property
    def mode(self) -> Mode:
        """The present one."""
        return self.modes.mode

    @property
    def is_home(self) -> bool:
        """Whether the set-point is where the arm goes before an episode."""
        return self._limiter is not None and self._is_home(self._limiter.pose)

    @property
    def at_rest(self) -> bool:
        """Whether the set-points stand still, or there are none yet."""
        return self._limiter is None or self._limiter.at_rest

    @property
    def _reason(self) -> str:
        """Why the arm does what it does, or why it does not go on."""
        hindered = self._limiter.hindered if self._limiter is not None and self.mode in ARMED else ""
        return hindered or self.modes.reason

    @property
    def counts(self) -> Counter[str]:
        """All there are."""
        limiter = self._limiter.counts if self._limiter is not None else Counter()
        return self._own + self.gate.counts + self.timeline.counts + limiter

    def tick(self, now_s: float, arrived: Arrived) -> Tick:
        """Do one control period; never raises for what the arm, a policy or a person does."""
        if now_s - self._ticked_s > 1.5 * self.dt_s and self._ticked_s > 0:
            self._own["overrun"] += 1  # the set-point goes on by one period: nothing is caught up in a burst
        self._ticked_s = now_s
        state = self._look(now_s)
        if arrived.alone_s > self.watch.alone_s:
            self._ask(Ask.STOP, f"the supervisor showed no life for {arrived.alone_s:.1f} s")
        for ask in arrived.asks:
            self._obey(ask, now_s)
        for chunk in arrived.chunks:
            self._take(chunk, now_s)
        wanted = self._wanted(now_s, arrived)
        sent = self._send(wanted, now_s)
        return Tick(now_s, self.mode, self._reason, self.timeline.epoch, state, wanted, sent)

    def _look(self, now_s: float) -> ArmState | None:
        """Return the arm's state; change the mode where something is wrong with it."""
        try:
            state = self.arm.state()
        except ArmError as error:
            self._fail(error)
            return None
        wrong = self._arm_watch.wrong(state, now_s, self._taken)
        if self._limiter is not None:
            wrong = wrong or self._limiter.see(state)
        if wrong and self.mode in COMMANDING:
            self._fail(ArmError(wrong))
        return state

    def _fail(self, error: Exception) -> None:
        """Stop by the arm's own means, until a person acknowledges it, or arms anew after a lost link."""
        lost = isinstance(error, LinkLostError)
        if self.modes.ask(Ask.LOSE if lost else Ask.FAIL, str(error)):
            self._own[self.modes.mode.value] += 1
            self.timeline.bump()
            self.arm.stop()

    def _obey(self, ask: Ask, now_s: float) -> None:
        """Do what a person asks, where it can be done."""
        if ask in (Ask.ARM, Ask.ACKNOWLEDGE) and self.mode in (Mode.DISARMED, Mode.FAULT):
            try:
                self._start_anew(ask, now_s)
            except (ArmError, UserError) as error:
                self.modes.reason = str(error)
                return
        if not self.modes.ask(ask):
            self._own["asked in vain"] += 1
            return
        self.timeline.bump()
        self._refused_in_a_row, self._ran_s = 0, now_s
        if ask is Ask.DISARM:
            self.arm.stop()  # else one whose motion is the arm's own would hold its last set-point by force

    def _start_anew(self, ask: Ask, now_s: float) -> None:
        """Begin at rest where the arm is now.

        Raises:
            ArmError, UserError: it cannot.
        """
        if ask is Ask.ACKNOWLEDGE:
            self.arm.recover()
        else:
            self.arm.enable()
        state = self.arm.state()
        if wrong := self._arm_watch.wrong(state, now_s, None):
            raise ArmError(wrong)
        if self._limiter is None:
            self._limiter = MotionLimiter(self.limits, self.dt_s, state.pose)
        else:
            self._limiter.reset(state.pose)
        if wrong := self._limiter.see(state):
            raise ArmError(wrong)
        self._gripper = 1.0 if state.gripper > 0 else -1.0
        self._sent.clear()
        self._taken = state.pose

    def _take(self, chunk: Chunk, now_s: float) -> None:
        """Let the gate judge a chunk, and follow it."""
        if self.mode is not Mode.POLICY or chunk.epoch != self.timeline.epoch:
            self._own[f"refused: {OLD_EPOCH}"] += 1
            return
        if not now_s - _REMEMBERED_S <= chunk.observed_s <= now_s:
            self._own["refused: of another time"] += 1
            return
        start = self._pose_at(chunk.observed_s)
        verdict = self.gate.check(chunk.actions, start)
        if verdict.plan is None:
            self._refused_in_a_row += 1
            if self._refused_in_a_row >= self.watch.refused:
                self._ask(Ask.STOP, f"{self._refused_in_a_row} chunks in a row refused: {verdict.refused}")
            return
        self._refused_in_a_row = 0
        plan = TimedPlan(chunk.epoch, chunk.observed_s, self.action_dt_s, start, verdict.plan)
        self.timeline.take(plan, now_s)

    def _pose_at(self, time_s: float) -> Pose:
        """Return what was commanded at a time, or the oldest command that is remembered."""
        assert self._limiter is not None
        for sent_s, pose in reversed(self._sent):
            if sent_s <= time_s:
                return pose
        return self._sent[0][1] if self._sent else self._limiter.pose

    def _wanted(self, now_s: float, arrived: Arrived) -> Target | None:
        """Return where the arm should go; change the mode where that is over."""
        self._hear(arrived.command, now_s)
        if self.mode is Mode.HOMING:
            return Target(self.arm.home, self._gripper)
        if self.mode is Mode.HUMAN:
            return self._driven(arrived.command)
        if self.mode is not Mode.POLICY:
            return None
        if arrived.frames_age_s > self.watch.frozen_s:
            self._ask(Ask.HOLD, f"a camera shows nothing new for {arrived.frames_age_s:.2f} s")
            return None
        target = self.timeline.target(now_s)
        if target is None and (self.timeline.follows or now_s - self._ran_s > self.watch.first_plan_s):
            self._ask(Ask.HOLD, "no plan came in time")
        return target

    def _hear(self, command: TeleopCommand | None, now_s: float) -> None:
        """Let a person take over while they hold the dead-man switch, and let go."""
        if command is not None:
            self._heard_s = now_s
            if command.engaged and self.mode in (Mode.READY, Mode.POLICY, Mode.HOLD):
                self._ask(Ask.TAKE, "a person took over")
                self._clutch.release()
            elif not command.engaged and self.mode is Mode.HUMAN:
                self._ask(Ask.RELEASE, "the person let go")
        elif self.mode is Mode.HUMAN and now_s - self._heard_s > self.watch.silent_s:
            self._ask(Ask.RELEASE, "the person's device is silent")

    def _driven(self, command: TeleopCommand | None) -> Target | None:
        """Return where a person wants the tool; None where they do not say."""
        assert self._limiter is not None
        pose = self._clutch.drive(command, self._limiter.pose, self.dt_s)
        if command is None or pose is None:
            return None
        if command.gripper:
            self._gripper = 1.0 if command.gripper > 0 else -1.0
        return Target(pose, self._gripper)

    def _ask(self, ask: Ask, reason: str) -> None:
        """Change the mode; what was planned for the old one is void."""
        if self.modes.ask(ask, reason):
            self._own[ask.value] += 1
            self.timeline.bump()

    def _send(self, wanted: Target | None, now_s: float) -> ArmTarget | None:
        """Send the next set-point, on the way to what is wanted, or braking."""
        if self.mode not in COMMANDING or self._limiter is None:
            return None
        if wanted is not None:
            self._gripper = wanted.gripper
        try:
            pose = self._limiter.step(None if wanted is None else wanted.pose)
            sent = self.arm.command(ArmTarget(pose, self._gripper))
        except (ArmError, RuntimeError) as error:  # the limiter's: not even a brake was found
            self._fail(error)
            return None
        self._taken = sent.pose
        self._sent.append((now_s, pose))
        if self._limiter.at_rest:
            self._arrive(pose, now_s)
        else:
            self._moved_s = now_s
        return sent

    def _arrive(self, pose: Pose, now_s: float) -> None:
        """End what ends at rest."""
        if self.mode is Mode.STOPPING:
            self.modes.ask(Ask.AT_REST, self.modes.reason)
            self.arm.stop()
        if self._is_home(pose):
            self.modes.ask(Ask.ARRIVED)
        if self.mode is Mode.HOMING and now_s - max(self._moved_s, self._ran_s) > _STUCK_S:
            assert self._limiter is not None
            self._ask(Ask.HOLD, f"home cannot be reached: {self._limiter.hindered or 'it is outside'}")

    def _is_home(self, pose: Pose) -> bool:
        away = length(difference(pose.position_m, self.arm.home.position_m))
        return away < _ARRIVED_M and angle_between(pose.turn, self.arm.home.turn) < _ARRIVED_RAD
