"""Train a student by a teacher that sees more and by reward, balanced by itself (TGRL; arXiv 2307.03186)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from omegaconf import MISSING

from robofb.build import build
from robofb.errors import MOST, UserError, check_at_least, check_finite, check_positive
from robofb.interfaces import EpisodeTeacher, VecEnv
from robofb.policies.student import StudentPolicy
from robofb.policies.student_agent import StudentAgent
from robofb.rl.balance import Balance
from robofb.rl.episode_replay import EpisodeReplay
from robofb.rl.guided import GuidedLearner
from robofb.rl.guided_critics import ActionMath, ChoiceMath, ContinuousMath, GuidedCritics
from robofb.rng import WEIGHTS_STREAM, derive_seeds
from robofb.run import Run, plain
from robofb.train.episode_teachers import RandomTeacher
from robofb.train.guided_collector import WHO_COLLECTS, GuidedCollector
from robofb.train.guided_loop import GuidedTraining
from robofb.train.open_run import open_run
from robofb.train.rl_config import FIXED as RL_FIXED
from robofb.train.rl_config import RlConfig, check_share, check_warmup
from robofb.train.rl_training import RlTraining, learning_generators, selection, training_envs
from robofb.train.teachers import TASKS_OWN, load_teacher
from robofb.types import PRIVILEGED, EnvSpec

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
        check_finite(self, "word_bonus")
        if self.entropy is not None:
            check_finite(self, "entropy")
        _check_choice("collect", self.collect, tuple(WHO_COLLECTS))
        _check_choice("gap_from", self.gap_from, GAP_FROM)


def _check_choice(name: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise UserError(f"{name}={value}: choose one of {', '.join(valid)}")


class TgrlTraining(RlTraining):
    """The loop of TGRL and of what it is compared with."""

    advice = "a lower actor_lr or critic_lr may help"


def train(cfg: TgrlConfig) -> Run:
    """Train a student, or continue the run `cfg.resume`; return the run.

    Raises:
        UserError: a teacher or student that does not fit the task, an unusable folder, or weights that
            became NaN.
        KeyboardInterrupt: after Ctrl-C, once everything is saved.
    """
    with training_envs(cfg, None) as (env, select_env):
        balance: Balance = build(cfg.balance)
        _check_gap(cfg, balance)
        teacher = load_teacher(cfg, env) if balance.needs_teacher else _nobody(cfg, env)
        policy, node = make_student(cfg, env.spec, len(balance.policies))
        policy.to(env.device)
        agent = StudentAgent(policy, select_env.num_envs, greedy=cfg.greedy, device=select_env.device)
        learner = make_training(cfg, policy, balance, env, teacher)  # what is refused leaves no folder
        with open_run(cfg, "tgrl", env.spec.task, FIXED) as run:
            TgrlTraining(cfg, run, learner, selection(cfg, agent, select_env), {"policy_node": node}).work()
    return run


def _check_gap(cfg: TgrlConfig, balance: Balance) -> None:
    if balance.uses_gap and cfg.gap_from == "returns" and cfg.collect in ("student", "teacher"):
        raise UserError(
            f"gap_from=returns: with collect={cfg.collect} the rival has no episodes of its own; "
            "choose collect=halves or thirds, or gap_from=replay"
        )


def _nobody(cfg: TgrlConfig, env: VecEnv) -> EpisodeTeacher:
    """Return who stands where nobody is asked.

    Raises:
        UserError: a teacher is named, or shall act.
    """
    if cfg.teacher != TASKS_OWN:
        raise UserError(f"teacher={cfg.teacher}: this balance asks no teacher; leave the word out")
    if cfg.collect in ("thirds", "teacher"):
        raise UserError(
            f"collect={cfg.collect}: there is no teacher who could act, since this balance asks none; "
            "choose collect=student"
        )
    return RandomTeacher(env)


def make_student(cfg: TgrlConfig, spec: EnvSpec, num_policies: int) -> tuple[StudentPolicy, dict[str, Any]]:
    """Build students with new weights; return them and the config node that builds them from a spec.

    Raises:
        UserError: keys or values that `student` cannot have, or what `StudentPolicy` raises.
    """
    settings = {**STUDENT, **plain(cfg.student)}
    if settings["obs_keys"] is None:
        settings["obs_keys"] = [key for key in spec.obs if key != PRIVILEGED]
    _check_student(settings)
    target = f"{StudentPolicy.__module__}.{StudentPolicy.__qualname__}"
    settings |= {"num_policies": num_policies}
    generator = torch.Generator().manual_seed(int(derive_seeds(cfg.seed, WEIGHTS_STREAM)))
    node = {"_target_": target, "_partial_": True, **settings}
    return build({**node, "generator": generator}, spec), node


def _check_student(settings: dict[str, Any]) -> None:
    for key, value in settings.items():
        if key not in STUDENT:
            raise UserError(f"student.{key}: no such key; valid: {', '.join(STUDENT)}")
        if key == "obs_keys" and not isinstance(value, list):
            raise UserError(f"student.{key}={value}: needs a list: [state]")
        if key == "elements" and not isinstance(value, dict | None):
            raise UserError(f"student.{key}={value}: name the observation: student.elements.state=[ee_]")
    hidden, memory = settings["hidden"], settings["memory"]
    if not isinstance(hidden, list) or not all(_is_count(size, 1) for size in hidden):
        raise UserError(f"student.hidden={hidden}: needs a list of sizes of at least 1: [128,128]")
    if not _is_count(memory, 0):
        raise UserError(f"student.memory={memory}: needs a whole number, 0 for none")


def _is_count(value: Any, least: int) -> bool:
    return type(value) is int and least <= value < MOST


def make_training(
    cfg: TgrlConfig, policy: StudentPolicy, balance: Balance, env: VecEnv, teacher: EpisodeTeacher
) -> GuidedTraining:
    """Put critics, replay and collector around students."""
    draws, weights = learning_generators(cfg.seed, env.device, "cpu")
    critics = GuidedCritics(
        policy, hidden=policy.hidden, foresees_teacher=balance.foresees_teacher, generator=weights
    )
    actions: ActionMath = ChoiceMath() if policy.num_choices else ContinuousMath(cfg.teacher_std, draws)
    learner = GuidedLearner(
        policy,
        critics.to(env.device),
        balance,
        actions,
        gamma=cfg.gamma,
        reward_scale=cfg.reward_scale,
        word_bonus=cfg.word_bonus,
        actor_lr=cfg.actor_lr,
        critic_lr=cfg.critic_lr,
        temperature=cfg.temperature,
        target_entropy=target_entropy(cfg.entropy, policy),
        temperature_lr=cfg.temperature_lr,
        tau=cfg.tau,
        grad_clip=cfg.grad_clip,
    )
    collector = GuidedCollector(
        env,
        StudentAgent(policy, env.num_envs, greedy=False, device=env.device, tile=None),
        teacher,
        make_replay(cfg, policy, env),
        who=cfg.collect,
        teacher_std=cfg.teacher_std,
        seed=cfg.seed,
    )
    return GuidedTraining(
        learner,
        collector,
        gap_from=cfg.gap_from,
        rollout_steps=cfg.rollout_steps,
        warmup_steps=cfg.warmup_steps,
        updates=cfg.updates,
        batch_size=cfg.batch_size,
        generator=draws,
        threads=cfg.threads,
    )


def make_replay(cfg: TgrlConfig, policy: StudentPolicy, env: VecEnv) -> EpisodeReplay:
    """Make room for what the students see and do, and for what the teacher answers.

    Raises:
        UserError: `buffer_size` holds less than an episode of each env.
    """
    least = env.num_envs * (env.spec.max_steps + 1)
    if cfg.buffer_size < least:
        raise UserError(f"buffer_size={cfg.buffer_size}: needs {least}, an episode of each of num_envs")
    states = {key: (array.shape, _torch_dtype(array.dtype)) for key, array in policy.spec.obs.items()}
    states["answer"] = ((policy.action_dim,), torch.float32)
    action = ((), torch.int64) if policy.num_choices else ((policy.action_dim,), torch.float32)
    moves = {"action": action, "reward": ((), torch.float32)}
    return EpisodeReplay(cfg.buffer_size, states, moves, env.num_envs, env.spec.max_steps, device=env.device)


def _torch_dtype(name: str) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def target_entropy(entropy: float | None, policy: StudentPolicy) -> float | None:
    """Return nats: a share of log n of n choices, or so many for each dimension of a continuous action."""
    if entropy is None:
        return None
    return entropy * (math.log(policy.num_choices) if policy.num_choices else policy.action_dim)
