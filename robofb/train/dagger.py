"""Teach a chunk policy what an expert would do where the policy itself goes (DAgger; arXiv 1011.0686)."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import MISSING
from torch import Tensor

from robofb.errors import UserError, check_at_least
from robofb.interfaces import Agent, VecEnv
from robofb.loading import load_agent
from robofb.policies.executor import ChunkExecutor
from robofb.progress import progress_bar
from robofb.rng import TRAINING_STREAM, EpisodeRng, derive_seeds
from robofb.run import Run
from robofb.sim.record import Recorder
from robofb.store.episodes import EpisodeStore
from robofb.store.windows import Windows
from robofb.train.bc import make_learner, make_policy
from robofb.train.bc_config import BcConfig, data_folders
from robofb.train.bc_data import open_stores
from robofb.train.episodes import EpisodeCount
from robofb.train.open_run import open_run
from robofb.train.rl_config import FIXED, RlConfig, check_share
from robofb.train.rl_training import RlTraining, selection, training_envs
from robofb.train.stopwatch import Stopwatch
from robofb.types import SOURCE_POLICY

BC_KEYS = ("steps", "batch_size", "lr", "weight_decay", "warmup_steps", "ema_decay", "grad_clip", "precision")
_IN_WORDS = {int: "a whole number", float: "a number", str: "a word"}
_DRIVER_STREAM = 31  # of an episode: who drives it


@dataclass
class DaggerConfig(RlConfig):
    """What `robofb train dagger` reads.

    Attributes:
        expert: run folder of what is asked at every visited state, such as a residual run.
        expert_checkpoint: "best", "latest" or a path.
        data: folder of demonstrations to learn from as well, or a list of several: [a,b]; none where null.
        policy: the student.
        rounds: how often episodes are played and the student is trained anew on all of them; env_steps may
            end it before.
        episodes: episodes of each round.
        beta_decay: the expert drives all episodes of round 0 and a share of beta_decay ** n of round n, at
            random; 0 leaves all but the first round to the student.
        bc: how each round trains: steps, batch_size, lr, weight_decay, warmup_steps, ema_decay, grad_clip or
            precision of train bc, as in bc.steps=500.
    """

    expert: str = MISSING
    expert_checkpoint: str = "best"
    data: Any = field(default=None, metadata={"paths": True})
    policy: Any = MISSING
    rounds: int = 10
    episodes: int = 64
    beta_decay: float = 0.5
    bc: dict[str, Any] = field(default_factory=dict)
    env_steps: int = 10_000_000
    select_every: int = 1
    save_every: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "rounds", "episodes")
        check_share(self, "beta_decay")
        if unknown := [key for key in self.bc if key not in BC_KEYS]:
            raise UserError(f"bc.{unknown[0]}: no key of a round; valid: {', '.join(BC_KEYS)}")
        round_config(self)


def round_config(cfg: DaggerConfig) -> BcConfig:
    """Return what the training of one round reads."""
    for key, value in cfg.bc.items():
        kind = type(getattr(BcConfig, key))
        if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
            raise UserError(f"bc.{key}={value}: needs {_IN_WORDS[kind]}")
    given = {"policy": cfg.policy, "seed": cfg.seed, "threads": cfg.threads, **dict(cfg.bc)}
    return BcConfig(data="its rounds", **given)


class DaggerTraining(RlTraining):
    """The loop of DAgger: an iteration is a round."""

    cfg: DaggerConfig
    advice = "a lower bc.lr may help"
    selects_first = False  # before the first round the student knows nothing, not even its units

    def _why_finished(self) -> str:
        if self.learner.iteration >= self.cfg.rounds:
            return f"all rounds={self.cfg.rounds} are done"
        return super()._why_finished()


def train(cfg: DaggerConfig) -> Run:
    """Teach a student what the expert would do, or continue the run `cfg.resume`; return the run.

    Raises:
        UserError: a wrong expert, dataset or folder, or weights that became NaN.
        KeyboardInterrupt: after Ctrl-C, once everything is saved.
    """
    expert_run = Run.open(cfg.expert)
    seen = load_agent(expert_run, 1, cfg.expert_checkpoint).policy.spec
    with ExitStack() as stack:
        env, select_env = stack.enter_context(training_envs(cfg, seen, f"expert={cfg.expert}"))
        expert = load_agent(expert_run, cfg.num_envs, cfg.expert_checkpoint, device=env.device)
        folders = [] if cfg.data is None else data_folders(cfg.data)
        demonstrations = open_stores(folders, env.spec, stack) if folders else []
        student = make_policy(cfg.policy, env.spec, cfg.seed).to(env.device).eval().requires_grad_(False)
        agent = ChunkExecutor(student, select_env.num_envs, device=select_env.device)
        fixed = (*FIXED, "expert", "expert_checkpoint", "data", "policy", "episodes", "beta_decay", "bc")
        with open_run(cfg, "dagger", env.spec.task, fixed) as run:
            learner = DaggerLearner(cfg, student, expert, env, demonstrations, run.path / "data")
            DaggerTraining(cfg, run, learner, selection(cfg, agent, select_env), {}).work()
    return run


class DaggerLearner:
    """One round: play episodes, write down what the expert would do in them, train on all rounds.

    What the expert would do at step t of an episode stands in the dataset as the action of step t, whoever
    drove; so a chunk to learn is the expert's answers at the states that were visited one after the other.
    Everything random follows from the seed and the number of the round.

    Args:
        cfg: how.
        student: what is trained.
        expert: what is asked.
        env: where both act.
        demonstrations: further datasets to learn from.
        folder: where each round's episodes are kept, one dataset a round.
    """

    def __init__(
        self,
        cfg: DaggerConfig,
        student: Any,
        expert: Agent,
        env: VecEnv,
        demonstrations: list[EpisodeStore],
        folder: Path,
    ) -> None:
        self.cfg, self.policy, self.expert, self.env = cfg, student, expert, env
        self.demonstrations, self.folder = demonstrations, folder
        self.student = ChunkExecutor(student, env.num_envs, device=env.device)
        self.clock = Stopwatch()
        self.env_steps = self.iteration = 0
        self._seed = derive_seeds(cfg.seed, TRAINING_STREAM)

    @property
    def beta(self) -> float:
        """Share of this round's episodes that the expert drives."""
        return self.cfg.beta_decay**self.iteration  # 0 ** 0 is 1

    def step(self) -> dict[str, float]:
        """Do one round and return its metrics.

        Raises:
            NonFiniteError: see `BcLearner.step`.
        """
        metrics: dict[str, float] = {"dagger/beta": self.beta}
        with self.clock.iteration(metrics):
            metrics |= self._collect()
            with self.clock("update"):
                torch.set_num_threads(self.cfg.threads)
                metrics |= self._retrain()
                torch.set_num_threads(1)
            self.iteration += 1
        return metrics

    def _round_folder(self, number: int) -> Path:
        return self.folder / f"round_{number:03d}"

    def _collect(self) -> dict[str, float]:
        """Play this round's episodes and write them down with the expert's actions."""
        env, wanted, count = self.env, self.cfg.episodes, EpisodeCount(self.env.device)
        shutil.rmtree(self._round_folder(self.iteration), ignore_errors=True)  # of a round that was stopped
        facts = {"labels": "expert", "expert": self.cfg.expert, "round": self.iteration}
        obs = env.reset(int(derive_seeds(self._seed, self.iteration)))
        driven = torch.zeros(env.num_envs, dtype=torch.bool, device=env.device)  # by the expert
        self._begin(torch.ones_like(driven), driven)
        recorder = Recorder(env, obs, SOURCE_POLICY)
        distance = torch.zeros((), device=env.device)  # between expert's and student's action, the sum
        steps = 0
        with EpisodeStore.create(self._round_folder(self.iteration), env.spec, facts) as store:
            while len(store) < wanted:
                with self.clock("policy"):
                    label, own = self._answers(obs)
                with self.clock("physics"):
                    step = env.step(torch.where(driven[:, None], label, own))
                distance += (label - own).abs().mean()
                steps += 1
                recorder.add(label, step.reward, step.final_obs)
                count.add(step)
                for world in (step.done & (step.info["episode"] < wanted)).nonzero()[:, 0].tolist():
                    facts = {"episode": int(step.info["episode"][world]), "expert_drove": bool(driven[world])}
                    success, terminated = bool(step.info["success"][world]), bool(step.terminated[world])
                    store.append(recorder.cut(world, success, terminated, facts))
                obs = step.obs
                recorder.restart(step.done, obs)
                self._begin(step.done, driven)
        self.env_steps += steps * env.num_envs
        return count.metrics() | {"dagger/distance_to_expert": float(distance) / steps}

    def _begin(self, mask: Tensor, driven: Tensor) -> None:
        """Start both agents' episodes in the envs of `mask` (B,), and draw there who drives into `driven`."""
        seeds = self.env.episode_seed
        self.expert.reset(mask, seeds)
        self.student.reset(mask, seeds)
        draws = EpisodeRng(derive_seeds(seeds, _DRIVER_STREAM)).uniform()
        driven[mask] = (draws < self.beta)[mask]

    def _answers(self, obs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return what expert and student would do, (B, A) each; before round 1 the student does as told."""
        label = self.expert.next(obs)
        return label, self.student.next(obs) if self.iteration else label

    def _retrain(self) -> dict[str, float]:
        """Train a fresh student on all rounds and take over its averaged weights."""
        cfg = round_config(self.cfg)
        fresh = make_policy(self.cfg.policy, self.env.spec, self.cfg.seed)
        with ExitStack() as stack:
            folders = [str(self._round_folder(number)) for number in range(self.iteration + 1)]
            rounds = open_stores(folders, self.env.spec, stack)
            windows = Windows(
                [*self.demonstrations, *rounds],
                obs_history=fresh.obs_history,
                horizon=fresh.horizon,
                obs_keys=tuple(fresh.spec.obs),
                device=self.env.device,
            )
        fresh.set_stats(windows.stats())
        learner = make_learner(cfg, fresh.to(self.env.device), windows)
        losses = []
        with progress_bar(cfg.steps, "retrain", "step") as bar:
            for _ in range(cfg.steps):
                losses.append(learner.step()["loss"])
                bar.update()
        self.policy.load_state_dict(learner.ema.model.state_dict())
        return {"dagger/windows": len(windows), "dagger/loss": float(torch.stack(losses[-50:]).mean())}

    def state_dict(self) -> dict[str, Any]:
        """Return all but the student's weights and the episodes, which lie in their folder."""
        return {"iteration": self.iteration, "env_steps": self.env_steps, "clock": dict(self.clock.seconds)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            UserError: the episodes of a round are gone.
        """
        self.iteration, self.env_steps = state["iteration"], state["env_steps"]
        self.clock.seconds = dict(state["clock"])
        for number in range(self.iteration):
            if not self._round_folder(number).is_dir():
                raise UserError(f"{self._round_folder(number)} is gone: this run cannot go on without it")
