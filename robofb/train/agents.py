"""Train one agent for each of N tasks of a family, and keep all that they do, in its order.

The logs are what BOReL learns exploration from (Dorfman et al., arXiv 2008.02598): complete histories, their
clumsy beginnings included, for logs of experts alone would betray the task by the behaviour.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robofb import loading
from robofb.errors import MOST, UserError, check_at_least, check_finite, check_positive
from robofb.evaluate import evaluate
from robofb.families import build_family, draw_tasks
from robofb.interfaces import VecEnv
from robofb.meta_interfaces import MetaTask
from robofb.policies.single_task import STATE, SingleTaskAgent, SingleTaskPolicies
from robofb.progress import progress_bar
from robofb.rl.single_task import ChoiceLearner, ContinuousLearner, SingleTaskLearner
from robofb.rl.slot_log import Stretch
from robofb.rng import WEIGHTS_STREAM, derive_seeds
from robofb.run import Run
from robofb.stats import SuccessRate
from robofb.store.agent_logs import AGENTS, EPISODES_PER_TRIAL, PARAM_NAMES, PARAMS, START, write_agent_log
from robofb.train.agents_loop import AgentsLoop
from robofb.train.open_run import open_run
from robofb.train.rl_config import FIXED as RL_FIXED
from robofb.train.rl_config import RlConfig, check_share
from robofb.train.rl_training import RlTraining, learning_generators
from robofb.types import SOURCE_POLICY, EnvSpec, Episode

LOG = logging.getLogger(__name__)
FIXED = (*RL_FIXED, "num_tasks", "visitors", "hidden", "env_steps", "episodes_per_trial")
LOGS = "logs"


@dataclass
class AgentsConfig(RlConfig):
    """What `robofb train agents` reads.

    Attributes:
        num_tasks: N, drawn by the seed, no two the same; null takes all of a family that has finitely many.
        num_envs: of each agent, in its own task.
        visitors: further envs of each task in which the agents of other tasks act, another one in every
            episode ("policy replaying"): nobody learns from them, but they are logged. Where tasks differ in
            how the world moves, they are what shows how the same behaviour ends in different tasks.
        episodes_per_trial: K; kept with the logs for who learns to explore from them.
        logs: folder of the logs, one dataset for each agent; <run>/logs where null.
        env_steps: budget of control steps, all agents and visitors together. A resumed run cannot change it.
        hidden: sizes of the hidden layers of policies and critics.
        gamma: discount of future reward per control step.
        lr: learning rate of policies, critics and temperatures.
        tau: share of the values that their slow copies take over per update.
        batch_size: transitions of each agent in an update.
        updates: in one iteration, which is as long as the longest episode.
        warmup: share of the budget before learning begins; meanwhile continuous agents wander, each episode
            in one direction drawn evenly.
        explore: share of the budget over which the chance of a random choice falls from 1 to `least_epsilon`.
        least_epsilon: what is left of it then.
        temperature: weight of the entropy of continuous policies, at first.
        entropy: that it is adjusted to, in nats for each dimension of the action; constant where null.
        select_episodes: of each task.
    """

    num_tasks: int | None = None
    num_envs: int = 1
    visitors: int = 0
    episodes_per_trial: int = 2
    logs: str | None = None
    env_steps: int = 500_000
    hidden: list[int] = field(default_factory=lambda: [32, 32])
    gamma: float = 0.99
    lr: float = 1e-3
    tau: float = 0.01
    batch_size: int = 128
    updates: int = 100
    warmup: float = 0.05
    explore: float = 0.5
    least_epsilon: float = 0.0
    temperature: float = 0.1
    entropy: float | None = None
    select_episodes: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "updates", "batch_size", "episodes_per_trial")
        check_at_least(self, 0, "visitors")
        check_positive(self, "lr", "temperature")
        check_share(self, "gamma", "tau", "warmup", "explore", "least_epsilon")
        if self.num_tasks is not None:
            check_at_least(self, 1, "num_tasks")
        if self.entropy is not None:
            check_finite(self, "entropy")
        if min(self.hidden, default=1) < 1 or max(self.hidden, default=1) >= MOST:
            raise UserError(f"hidden={list(self.hidden)}: needs sizes of at least 1, below 2**63")


class AgentsTraining(RlTraining):
    """The loop of single-task agents."""

    advice = "a lower lr may help"


def train(cfg: AgentsConfig) -> Run:
    """Train agents, or continue the run `cfg.resume`, then write their logs; return the run.

    Raises:
        UserError: the task is no family or has too few tasks, one agent shall have visitors, or the folder
            is unusable.
        KeyboardInterrupt: after Ctrl-C, once everything is saved; the logs are written when it is finished.
    """
    params = draw_tasks(build_family(cfg.task), cfg.num_tasks, cfg.seed)
    if len(params) == 1 and cfg.visitors:
        raise UserError(f"num_tasks=1 visitors={cfg.visitors}: there is no other agent to visit it")
    with _envs(cfg, params) as (env, select_env):
        draws, weights = learning_generators(cfg.seed, env.device, "cpu")
        weights.manual_seed(int(derive_seeds(cfg.seed, WEIGHTS_STREAM)))
        policies = SingleTaskPolicies(env.spec, len(params), hidden=cfg.hidden, generator=weights)
        learner = AgentsLoop(
            make_learner(cfg, policies, draws),
            env,
            own=cfg.num_envs,
            iterations=-(-cfg.env_steps // (env.num_envs * env.spec.max_steps)),
            gamma=cfg.gamma,
            batch_size=cfg.batch_size,
            updates=cfg.updates,
            warmup=cfg.warmup,
            explore=cfg.explore,
            least_epsilon=cfg.least_epsilon,
            generator=draws,
            seed=cfg.seed,
            threads=cfg.threads,
        )
        agent = SingleTaskAgent(policies, select_env.num_envs)
        rebuilding = {"num_agents": len(params), "hidden": list(cfg.hidden), "params": params}

        def select() -> SuccessRate:
            episodes = cfg.select_episodes * len(params)
            return evaluate(agent, select_env, episodes, cfg.select_seed, progress="select").rate

        with open_run(cfg, "agents", env.spec.task, FIXED) as run:
            AgentsTraining(cfg, run, learner, select, rebuilding).work()
            write_logs(cfg, run, learner, params)
    return run


@contextmanager
def _envs(cfg: AgentsConfig, params: Tensor) -> Iterator[tuple[VecEnv, VecEnv]]:
    """Open the envs to train in, those of a task together, and one of each task to select in."""
    many = params.repeat_interleave(cfg.num_envs + cfg.visitors, 0)
    with (
        closing(loading.make_tasks_env(cfg.task, cfg.engine, many)) as env,
        closing(loading.make_tasks_env(cfg.task, cfg.engine, params)) as select_env,
    ):
        yield env, select_env


def make_learner(
    cfg: AgentsConfig, policies: SingleTaskPolicies, generator: torch.Generator
) -> SingleTaskLearner:
    """Return what improves the policies: by DQN for choices, else by soft actor-critic."""
    if policies.num_choices:
        return ChoiceLearner(policies, lr=cfg.lr, tau=cfg.tau)
    target = None if cfg.entropy is None else cfg.entropy * policies.action_dim
    return ContinuousLearner(
        policies, generator, lr=cfg.lr, tau=cfg.tau, temperature=cfg.temperature, target_entropy=target
    )


def write_logs(cfg: AgentsConfig, run: Run, learner: AgentsLoop, params: Tensor) -> Path:
    """Write each agent's history as a dataset; those that are there already stay."""
    root = Path(cfg.logs) if cfg.logs else run.path / LOGS
    family = build_family(cfg.task)
    spec = family.spec.only([STATE])
    facts = {
        AGENTS: len(params),
        PARAM_NAMES: list(family.params.names),
        EPISODES_PER_TRIAL: cfg.episodes_per_trial,
        START: family.start_distribution,
        "seed": cfg.seed,
        "envs": cfg.num_envs,
        "visitors": cfg.visitors,
    }
    with progress_bar(len(params), "write logs", "agent", delay_s=2.0) as bar:
        for index, own in enumerate(params):
            stretches = learner.log.episodes(index)
            episodes = [_episode(learner, stretch, spec, family, own) for stretch in stretches]
            write_agent_log(root, index, spec, {**facts, PARAMS: own.tolist()}, episodes)
            bar.update()
    LOG.info("logs of %d agent%s are in %s", len(params), "" if len(params) == 1 else "s", root)
    return root


def _episode(
    learner: AgentsLoop, stretch: Stretch, spec: EnvSpec, family: MetaTask, params: Tensor
) -> Episode:
    """Return an episode of a log as datasets keep it, paid as its task pays.

    An agent may have been paid otherwise, to learn it at all.
    """
    log, steps = learner.log, stretch.end - stretch.first
    before, after, action = (log.take(name, stretch) for name in (STATE, "next_state", "action"))
    return Episode(
        obs={STATE: torch.cat([before, after[-1:]]).numpy()},
        action=action.numpy(),
        reward=family.relabel(params, before, action, after).numpy(),
        terminated=bool(log.take("terminated", stretch)[-1]),
        success=bool(log.take("success", stretch)[-1]),
        timestamps=np.arange(steps + 1) * spec.control_dt,
        source=np.full(steps, SOURCE_POLICY, np.uint8),
        meta={"by_agent": int(log.take("by", stretch)[-1]), "iteration": stretch.first // spec.max_steps},
    )
