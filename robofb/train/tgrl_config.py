"""What `robofb train tgrl` reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from robofb.errors import UserError, check_at_least, check_finite, check_positive
from robofb.train.guided_collector import WHO_COLLECTS
from robofb.train.rl_config import FIXED as RL_FIXED
from robofb.train.rl_config import RlConfig, check_share, check_warmup
from robofb.train.teachers import TASKS_OWN

GAP_FROM = ("replay", "returns")
STUDENT = {"obs_keys": None, "elements": None, "hidden": [128, 128], "memory": 0}
FIXED = (
    *RL_FIXED,
    "teacher",
    "teacher_checkpoint",
    "teacher_errors",
    "teacher_std",
    "balance",
    "student",
    "buffer_size",
    "collect",
    "gamma",
    "temperature",
)


@dataclass
class TgrlConfig(RlConfig):
    """What `robofb train tgrl` reads.

    Attributes:
        teacher: "task" for the teacher that the task brings along, or its scripted expert where it brings
            none; "scripted" for the expert; "random" for one that knows nothing; or a policy's run folder.
            balance=reward asks none.
        teacher_checkpoint: of a run: "best", "latest" or a path.
        teacher_errors: share of states at which the answer is replaced by a random one.
        word_bonus: nats added to the teacher's word in every step. Without it a word is never above 0, and a
            student that cannot follow yet ends the complaints by dying, where failures end episodes; log n of
            n choices makes it worth living to who follows better than chance.
        teacher_std: deviation around a continuous teacher's action, in half-widths of the action's bounds.
        balance: how the teacher's word is weighed against reward.
        student: the policy: obs_keys (all but "privileged" where null), elements, hidden, memory.
        collect: who acts in the episodes that are learnt from: halves (the policies in turn), thirds (the
            teacher as well), student or teacher.
        gap_from: how the student's advantage over reward alone is told: replay (by the critics, discounted)
            or returns (of each policy's own episodes, not discounted; collect=halves or thirds).
        gamma: discount of future reward per control step.
        reward_scale: factor on rewards in learning, and so on returns that the balance goes by: critics learn
            values of about 1 soonest.
        rollout_steps: control steps of each env in one iteration.
        warmup_steps: control steps, all envs together, before learning begins.
        updates: gradient steps in one iteration; the balance takes one step after them.
        batch_size: control steps in each; with a memory, whole episodes of about as many.
        buffer_size: control steps that are kept, and saved with every checkpoint; the oldest make room.
        actor_lr, critic_lr: learning rates of policies and critics.
        temperature: weight of the policies' entropy at first.
        entropy: that the temperature is adjusted to: share of log n of n choices, or nats for each dimension
            of a continuous action; a constant temperature where null.
        temperature_lr: learning rate of its logarithm.
        tau: share of the critics that the slow copy, which gives the targets, takes over per step.
        grad_clip: largest gradient norm of each network.
        greedy: evaluate the likeliest action instead of drawn ones.
    """

    teacher: str = TASKS_OWN
    teacher_checkpoint: str = "best"
    teacher_errors: float = 0.0
    word_bonus: float = 0.0
    teacher_std: float = 0.3
    balance: Any = MISSING
    student: dict[str, Any] = field(default_factory=dict)
    collect: str = "halves"
    gap_from: str = "replay"
    gamma: float = 0.99
    reward_scale: float = 1.0
    rollout_steps: int = 8
    warmup_steps: int = 1000
    updates: int = 32
    batch_size: int = 256
    buffer_size: int = 200_000
    actor_lr: float = 3e-4
    critic_lr: float = 3e-4
    temperature: float = 0.1
    entropy: float | None = None
    temperature_lr: float = 3e-4
    tau: float = 0.005
    grad_clip: float = 10.0
    greedy: bool = True
    num_envs: int = 16
    env_steps: int = 100_000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "rollout_steps", "updates", "batch_size", "buffer_size")
        check_at_least(self, 0, "warmup_steps", "temperature_lr")
        check_warmup(self)
        check_positive(
            self, "teacher_std", "reward_scale", "actor_lr", "critic_lr", "temperature", "grad_clip"
        )
        check_share(self, "gamma", "tau", "teacher_errors")
        check_positive(self, "tau")
        check_finite(self, "word_bonus")
        if self.entropy is not None:
            check_finite(self, "entropy")
        _check_choice("collect", self.collect, tuple(WHO_COLLECTS))
        _check_choice("gap_from", self.gap_from, GAP_FROM)


def _check_choice(name: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise UserError(f"{name}={value}: choose one of {', '.join(valid)}")
