"""Train a student by a teacher that sees more and by reward, balanced by itself (TGRL; arXiv 2307.03186)."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch

from robofb.build import build
from robofb.errors import MOST, UserError
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
from robofb.train.guided_collector import GuidedCollector
from robofb.train.guided_loop import GuidedTraining
from robofb.train.open_run import open_run
from robofb.train.rl_training import RlTraining, learning_generators, selection, training_envs
from robofb.train.teachers import TASKS_OWN, load_teacher, teacher_of_run
from robofb.train.tgrl_config import FIXED, STUDENT, TgrlConfig
from robofb.types import PRIVILEGED, EnvSpec

LOG = logging.getLogger(__name__)


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
        kept = teacher_of_run(cfg) if balance.needs_teacher else None
        teacher = load_teacher(cfg, env, kept) if balance.needs_teacher else _nobody(cfg, env)
        policy, node = make_student(cfg, env.spec, len(balance.policies))
        policy.to(env.device)
        agent = StudentAgent(policy, select_env.num_envs, greedy=cfg.greedy, device=select_env.device)
        learner = make_training(cfg, policy, balance, env, teacher)  # what is refused leaves no folder
        with open_run(cfg, "tgrl", env.spec.task, FIXED) as run:
            rebuilding = {"policy_node": node, "teacher": kept}
            TgrlTraining(cfg, run, learner, selection(cfg, agent, select_env), rebuilding).work()
            if not learner.num_updates:
                LOG.warning("nothing was learnt: no episode ended in %d env steps", learner.env_steps)
    return run


def _check_gap(cfg: TgrlConfig, balance: Balance) -> None:
    if cfg.gap_from == "returns" and not balance.uses_gap:
        raise UserError("gap_from=returns: this balance goes by no gap; leave the word out")
    if balance.uses_gap and cfg.gap_from == "returns" and cfg.collect in ("student", "teacher"):
        raise UserError(
            f"gap_from=returns: with collect={cfg.collect} the rival has no episodes of its own; "
            "choose collect=halves or thirds, or gap_from=replay"
        )


def _nobody(cfg: TgrlConfig, env: VecEnv) -> EpisodeTeacher:
    """Return who stands where nobody is asked.

    Raises:
        UserError: a teacher is named or described, or shall act.
    """
    described = {
        "teacher": (cfg.teacher, TASKS_OWN),
        "teacher_errors": (cfg.teacher_errors, 0.0),
        "word_bonus": (cfg.word_bonus, 0.0),
    }
    for name, (value, default) in described.items():
        if value != default:
            raise UserError(f"{name}={value}: this balance asks no teacher; leave the word out")
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
    low, high = (0.0, 1.0) if policy.num_choices else (-math.inf, math.log(2))
    if not low <= entropy <= high:
        most = "of log n, 0 to 1" if policy.num_choices else f"in nats, at most log 2 = {high:.3f}"
        raise UserError(f"entropy={entropy:g}: no policy has it; for these actions it is {most}")
    return entropy * (math.log(policy.num_choices) if policy.num_choices else policy.action_dim)
