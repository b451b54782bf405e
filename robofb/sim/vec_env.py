"""A Task on an Engine as a vector of environments that reset themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import mujoco
import torch
from torch import Tensor

from robofb.interfaces import Engine, PerturbingTask, SteeredTask, Task
from robofb.rng import DOMAIN_STREAM, PERTURBATION_STREAM, RESET_STREAM, EpisodeRng, derive_seeds
from robofb.sim.mujoco_engine import MujocoEngine
from robofb.sim.pose_noise import PoseNoise
from robofb.sim.render import ImageObserver, Renderer
from robofb.sim.reset_bank import BankDraw
from robofb.sim.visuals import VisualRandomization
from robofb.types import SIM_STATE, ArraySpec, Obs, Score, Step


class SimVecEnv:
    """Run B copies of a task; satisfies `interfaces.VecEnv`.

    Args:
        task: what to do; holds no per-world state, so one task may serve several envs.
        num_envs: number of copies, B.
        engine: makes the simulator from (model, num_worlds).
        cameras: height and width [px] of image observations by the camera's name; see `ImageObserver`.
        autoreset: start the next episode in the step that ends one; else the caller resets.
        sim_state: also observe the simulator's full state, `SIM_STATE` (S,) float64: from it `restore`
            continues bit for bit.
        bank: draws episodes that start in a state of a reset bank, or None; for training only. `info` then
            has "from_bank" (B,) bool, so that their success is told apart.
        visuals: how far the looks of an episode go from the scene's own in the images of `cameras`, or None.

    Attributes:
        images: the cameras, None without any.

    Raises:
        UserError: the bank is of another task or scene.
    """

    def __init__(
        self,
        task: Task,
        num_envs: int,
        engine: Callable[[mujoco.MjModel, int], Engine] = MujocoEngine,
        cameras: Mapping[str, tuple[int, int]] | None = None,
        autoreset: bool = True,
        sim_state: bool = False,
        bank: BankDraw | None = None,
        visuals: VisualRandomization | None = None,
    ) -> None:
        self.num_envs, self.autoreset, self.sim_state = num_envs, autoreset, sim_state
        self.engine = engine(task.build(), num_envs)
        self.task = task.to(self.engine.device)
        self._perturbing = cast(PerturbingTask, self.task) if getattr(task, "perturbation", 0.0) else None
        self.pose_noise: PoseNoise | None = getattr(task, "pose_noise", None) or None
        self._complete = getattr(self.task, "complete", None)
        if self.pose_noise is not None:
            self.pose_noise.check(task.spec, self._complete)
        if bank is not None:
            bank.bank.check(task.spec, self.engine.model)
        self.bank = None if bank is None else bank.to(self.engine.device)
        self.images = ImageObserver(self.engine, cameras, visuals) if cameras else None
        further = dict(self.images.specs) if self.images else {}
        if sim_state:
            further[SIM_STATE] = ArraySpec(
                (self.engine.snapshot().shape[1],), "float64", "MuJoCo's mjSTATE_INTEGRATION"
            )
        self.spec = task.spec.with_obs({**task.spec.obs, **further})
        self.device = self.engine.device
        zeros = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
        self.episode, self.episode_seed, self.elapsed = zeros.clone(), zeros.clone(), zeros.clone()
        self._best_stage = zeros.clone()
        self._achieved = torch.zeros(num_envs, device=self.device)
        self._from_bank = torch.zeros(num_envs, dtype=torch.bool, device=self.device)
        self._peak: dict[str, Tensor] = {}
        self._seed = torch.tensor(0)
        self._next_episode = 0

    def reset(self, seed: int) -> Obs:
        """Start episodes 0..B-1 of `seed` in every env."""
        self._seed = torch.tensor(seed, dtype=torch.int64)
        self._next_episode = 0
        self._start(torch.arange(self.num_envs, device=self.device))
        return self._observe()

    def step(self, action: Tensor) -> Step:
        """Apply actions (B, A) for one control step; finished envs come back reset.

        Raises:
            ValueError: an action has another shape or is not finite.
            RuntimeError: `reset` was never called.
        """
        if not self._next_episode:
            raise RuntimeError("call reset before step")
        check_action(action, (self.num_envs, *self.spec.action.shape))
        self._perturb()
        self.task.apply(self.engine, action)
        self.engine.step(self.task.num_substeps)
        return self._judge()

    def step_part(self, action: Tensor, number: int, parts: int) -> Step | None:
        """Do part `number`, 0 .. parts - 1, of a control step under actions of its own.

        What happens once in a control step happens in the first part; the last one returns what `step` does.

        Raises:
            ValueError: see `step`; or the physics of a control step cannot be cut into so many parts.
        """
        if self.task.num_substeps % parts:
            raise ValueError(f"parts={parts}: must divide the {self.task.num_substeps} steps of physics")
        check_action(action, (self.num_envs, *self.spec.action.shape))
        if number == 0:
            self._perturb()
            self.task.apply(self.engine, action)
        cast(SteeredTask, self.task).steer(self.engine, action, 1 / parts)
        self.engine.step(self.task.num_substeps // parts)
        return self._judge() if number == parts - 1 else None

    def _judge(self) -> Step:
        """Return what a control step came to; begin anew where an episode ended."""
        score, diverged = self.task.score(self.engine), self.engine.diverged()
        if diverged.any():
            score = _without(score, diverged)
        self.elapsed = self.elapsed + 1
        earned = (score.achieved - self._achieved).clamp_min(0.0)
        reward = earned if score.reward is None else score.reward
        self._achieved = torch.maximum(self._achieved, score.achieved)
        self._best_stage = torch.maximum(self._best_stage, score.stage)
        self._track(score.metrics)
        terminated = score.success | score.failure if score.ended is None else score.ended
        truncated = (self.elapsed >= self.spec.max_steps) & ~terminated
        info = {
            "success": score.success,
            "stage": self._best_stage.clone(),
            "episode": self.episode.clone(),
            "length": self.elapsed.clone(),
            **{name: values.clone() for name, values in self._peak.items()},
        }
        if self.bank is not None:
            info["from_bank"] = self._from_bank.clone()
        final_obs = obs = self._observe()
        done = terminated | truncated
        if self.autoreset and done.any():
            ids = done.nonzero().squeeze(-1)
            self._start(ids)
            obs = self._observe(final_obs, ids)
        return Step(obs, reward, terminated, truncated, final_obs, info)

    def _perturb(self) -> None:
        """Let a task that perturbs do so, by the episode's seed and the number of the step alone."""
        if self._perturbing is not None:
            seeds = derive_seeds(derive_seeds(self.episode_seed, PERTURBATION_STREAM), self.elapsed)
            self._perturbing.perturb(self.engine, EpisodeRng(seeds))

    def _observe(self, before: Obs | None = None, ids: Tensor | None = None) -> Obs:
        """Return the task's observations with the images; of these only worlds `ids` are seen anew."""
        obs = self.task.observe(self.engine)
        if self.pose_noise is not None:
            spec = self.task.spec
            obs = self.pose_noise.add(obs, spec, self._complete, self.episode_seed, self.elapsed)
        if self.sim_state:
            obs = {**obs, SIM_STATE: self.engine.snapshot()}
        if self.images is None:
            return obs
        if before is None or ids is None:
            return {**obs, **self._see(torch.arange(self.num_envs))}
        seen = self._see(ids)
        return {**obs, **{key: before[key].index_copy(0, ids, images) for key, images in seen.items()}}

    def _see(self, ids: Tensor) -> Obs:
        """Return the images of worlds `ids` (n,) on the env's device."""
        assert self.images is not None
        return {key: images.to(self.device) for key, images in self.images.observe(ids).items()}

    def _track(self, metrics: dict[str, Tensor]) -> None:
        """Keep each metric's maximum over the episode (any, for bool)."""
        for name, values in metrics.items():
            self._peak[name] = torch.maximum(self._peak.get(name, values), values)

    def _start(self, ids: Tensor) -> None:
        """Begin the next numbered episodes in envs `ids`."""
        numbers = torch.arange(self._next_episode, self._next_episode + len(ids), device=self.device)
        self._next_episode += len(ids)
        self.episode = self.episode.index_copy(0, ids, numbers)
        self._begin(ids, derive_seeds(self._seed.to(self.device), numbers))

    def _begin(self, ids: Tensor, seeds: Tensor) -> None:
        """Put envs `ids` (n,) at the starts of the episodes that `seeds` (n,) draw."""
        self.episode_seed = self.episode_seed.index_copy(0, ids, seeds)
        self._forget(ids)
        self._vary(ids, seeds)
        self.task.reset(self.engine, ids, EpisodeRng(derive_seeds(seeds, RESET_STREAM)))
        if self.bank is not None:
            self._begin_in_bank(ids, self.bank, self.bank.draw(seeds))

    def _vary(self, ids: Tensor, seeds: Tensor) -> None:
        """Draw the physical constants and the looks of the episodes with `seeds` (n,) in envs `ids` (n,)."""
        self.engine.randomize(ids, EpisodeRng(derive_seeds(seeds, DOMAIN_STREAM)))
        if self.images is not None:
            self.images.begin(ids, seeds)

    def _begin_in_bank(self, ids: Tensor, bank: BankDraw, rows: Tensor) -> None:
        """Put those of the envs `ids` (n,) whose `rows` (n,) are not negative into these states of a bank."""
        drawn = rows >= 0
        self._from_bank = self._from_bank.index_copy(0, ids, drawn)
        worlds = ids[drawn]
        if not len(worlds):
            return
        self.engine.restore(worlds, bank.states[rows[drawn]])
        achieved = self.task.score(self.engine).achieved[worlds]  # what is there already earns nothing
        self._achieved = self._achieved.index_copy(0, worlds, achieved)

    def _forget(self, ids: Tensor) -> None:
        """Count steps, stages and goals of envs `ids` from nothing."""
        self.elapsed = self.elapsed.index_fill(0, ids, 0)
        self._best_stage = self._best_stage.index_fill(0, ids, 0)
        self._achieved = self._achieved.index_fill(0, ids, 0)
        self._from_bank = self._from_bank.index_fill(0, ids, False)
        self._peak = {name: values.index_fill(0, ids, 0) for name, values in self._peak.items()}

    def repeat(self, seeds: Tensor) -> Obs:
        """Start every env anew at the start of the episode with `episode_seed` `seeds` (B,)."""
        self.reset(0)
        self._begin(torch.arange(self.num_envs, device=self.device), seeds.to(self.device))
        return self._observe()

    def restore(self, states: Tensor) -> Obs:
        """Start every env anew in a simulator state of `states` (B, S), as `SIM_STATE` observes it."""
        self.reset(0)
        ids = torch.arange(self.num_envs, device=self.device)
        self.engine.restore(ids, states.to(self.device))
        self._forget(ids)
        return self._observe()

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to continue the running episodes exactly."""
        return {
            "engine": self.engine.snapshot(),
            "seed": self._seed,
            "next_episode": self._next_episode,
            "episode": self.episode,
            "episode_seed": self.episode_seed,
            "elapsed": self.elapsed,
            "best_stage": self._best_stage,
            "achieved": self._achieved,
            "peak": self._peak,
            "from_bank": self._from_bank,
        }

    def load_state_dict(self, state: dict[str, Any]) -> Obs:
        """Continue from `state_dict`; return the observations at that moment."""
        self._seed, self._next_episode = state["seed"].clone(), state["next_episode"]
        self.episode = state["episode"].to(self.device)
        self.episode_seed = state["episode_seed"].to(self.device)
        self.elapsed = state["elapsed"].to(self.device)
        self._best_stage = state["best_stage"].to(self.device)
        self._achieved = state["achieved"].to(self.device)
        self._peak = {name: values.to(self.device) for name, values in state["peak"].items()}
        none = torch.zeros_like(self._from_bank)  # saved before there were banks
        self._from_bank = state.get("from_bank", none).to(self.device)
        ids = torch.arange(self.num_envs, device=self.device)
        self._vary(ids, self.episode_seed)
        self.engine.restore(ids, state["engine"])
        return self._observe()

    def renderer(self, height: int, width: int) -> Renderer:
        """Return what takes pictures of the worlds.

        Raises:
            UserError: see `Renderer`.
        """
        return Renderer(self.engine, height, width)

    def close(self) -> None:
        """Release simulator and cameras; safe twice."""
        if self.images is not None:
            self.images.close()
        self.engine.close()


def check_action(action: Tensor, expected: tuple[int, ...]) -> None:
    """Raise ValueError unless an action (B, A) has the expected shape and only finite numbers."""
    if tuple(action.shape) != expected:
        raise ValueError(f"action must have shape {expected}, not {tuple(action.shape)}")
    if not math.isfinite(action.sum()):  # the quick test: sums keep inf and NaN
        bad = ~torch.isfinite(action).all(-1)
        if bad.any():
            raise ValueError(f"action is not finite in envs {bad.nonzero().flatten().tolist()}")


def _without(score: Score, diverged: Tensor) -> Score:
    """Return a score in which the worlds of `diverged` (B,) failed for nothing: their state was put back."""
    return Score(
        achieved=score.achieved.masked_fill(diverged, 0.0),
        success=score.success & ~diverged,
        failure=score.failure | diverged,
        stage=score.stage.masked_fill(diverged, 0),
        metrics={name: values.masked_fill(diverged, 0) for name, values in score.metrics.items()},
        reward=None if score.reward is None else score.reward.masked_fill(diverged, 0.0),
        ended=None if score.ended is None else score.ended | diverged,
    )
