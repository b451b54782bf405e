"""The contracts between parts. Shapes: B envs, T time, To history, H chunk, A action."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import mujoco
import numpy as np
import torch
from torch import Tensor

from robofb.rng import EpisodeRng
from robofb.types import Batch, EnvSpec, Obs, Score, Step, TeleopCommand


@runtime_checkable
class Engine(Protocol):
    """Many copies ("worlds") of one MuJoCo model, stepped together."""

    model: mujoco.MjModel
    num_worlds: int
    device: torch.device

    def field(self, name: str) -> Tensor:
        """Return a live (B, ...) tensor of an MjData field: qpos, qvel, act, ctrl, sensordata, ...

        State fields may be written; derived fields are current after `step` and `forward`.
        """
        ...

    def step(self, num_substeps: int) -> None:
        """Advance every world by physics steps, then make position and velocity fields current."""
        ...

    def diverged(self) -> Tensor:
        """Return (B,) bool: worlds whose state went bad and was put back since the last call."""
        ...

    def reset(self, ids: Tensor) -> None:
        """Set the worlds `ids` (n,) int64 to the model's initial state; derived fields go stale."""
        ...

    def forward(self, ids: Tensor) -> None:
        """Make the derived fields of the worlds `ids` agree with their written state."""
        ...

    def snapshot(self, ids: Tensor | None = None) -> Tensor:
        """Return the full simulator state (n, S) of some worlds, a copy."""
        ...

    def restore(self, ids: Tensor, state: Tensor) -> None:
        """Put worlds `ids` into states (n, S) taken by `snapshot`; they continue bit for bit.

        Only where the engine sums in a fixed order: a GPU may not.
        """
        ...

    def model_field(self, name: str) -> Tensor:
        """Return a live (B, ...) tensor of an MjModel field (`opt.` before MjOption's), own for each world.

        After writing masses or inertias call `constants_changed`.
        """
        ...

    def constants_changed(self, ids: Tensor) -> None:
        """Recompute what follows from the masses and inertias of the worlds `ids` (n,)."""
        ...

    def randomize(self, ids: Tensor, rng: EpisodeRng) -> None:
        """Draw physical constants of the worlds `ids` (n,) anew from `rng` (n rows), if they vary at all."""
        ...

    def close(self) -> None:
        """Release threads and memory; safe twice."""
        ...


class WorldRenderer(Protocol):
    """Renders all worlds of an engine at once."""

    def frames(self) -> dict[str, Tensor]:
        """Return by camera what it sees of all worlds as they stand, (B, 3, H, W) uint8 RGB."""
        ...


@runtime_checkable
class RenderingEngine(Engine, Protocol):
    """An engine that may render its worlds itself."""

    def renderer_of(self, cameras: Mapping[str, tuple[int, int]]) -> WorldRenderer | None:
        """Return what renders through cameras, of height and width [px] by name; None where it shall not."""
        ...


@runtime_checkable
class Task(Protocol):
    """What there is to do, in batched torch; runs on any Engine. Holds no per-world state."""

    spec: EnvSpec
    num_substeps: int

    def to(self, device: torch.device) -> Task:
        """Return this task with its constants on the engine's device: itself on the CPU."""
        ...

    def build(self) -> mujoco.MjModel:
        """Compile the scene."""
        ...

    def reset(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Write the start states of the worlds `ids` (n,), drawn from `rng` (n rows)."""
        ...

    def apply(self, engine: Engine, action: Tensor) -> None:
        """Turn actions (B, A) into the engine's controls for one control step."""
        ...

    def observe(self, engine: Engine) -> Obs:
        """Return fresh observation tensors (never views of the engine)."""
        ...

    def score(self, engine: Engine) -> Score:
        """Judge the present states."""
        ...


@runtime_checkable
class ScriptedTask(Task, Protocol):
    """A task that can show how it is done."""

    def expert(self, num_envs: int, noise: float) -> Agent:
        """Return an agent that solves it; `noise` scales its human-like errors, 0 makes none."""
        ...


@runtime_checkable
class SteeredTask(Task, Protocol):
    """A task whose arm can be sent set-points more often than once in a control step."""

    def steer(self, engine: Engine, action: Tensor, share: float = 1.0) -> None:
        """Turn actions (B, A) into controls that bring the arm there within a share of a control step."""
        ...


@runtime_checkable
class PerturbingTask(Task, Protocol):
    """A task that may disturb what it shows while an episode runs."""

    perturbation: float  # chance per part and control step; 0 for none

    def perturb(self, engine: Engine, rng: EpisodeRng) -> None:
        """Disturb the worlds at the start of a control step, drawing from `rng` (B rows), new every step."""
        ...


@runtime_checkable
class VecEnv(Protocol):
    """B environments in lock step, each reset by itself when its episode ends.

    Episodes are numbered 0, 1, 2, ... in the order they start, and episode n draws all its
    randomness from `episode_seed`, a hash of (seed, n): its course does not depend on B.
    """

    spec: EnvSpec
    num_envs: int
    device: torch.device
    episode: Tensor  # (B,) int64 number of the episode each env is in
    episode_seed: Tensor  # (B,) int64

    def reset(self, seed: int) -> Obs:
        """Start episodes 0..B-1 of `seed`."""
        ...

    def step(self, action: Tensor) -> Step:
        """Apply actions (B, A) in environment units for one control step."""
        ...

    def close(self) -> None:
        """Release the simulator; safe twice."""
        ...


class Renderer(Protocol):
    """Takes pictures of the envs of a VecEnv; a context manager."""

    def frame(self, world: int, camera: str = "front") -> np.ndarray:
        """Return what a camera sees of one env, (H, W, 3) uint8 RGB."""
        ...

    def __enter__(self) -> Renderer: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class TaskEnv(VecEnv, Protocol):
    """A VecEnv that was made from a task's config.

    One whose simulator is not ours may draw its starts itself: its class says so, and only the numbering of
    episodes is then kept of what `VecEnv` promises about them.
    """

    task: Any

    def renderer(self, height: int, width: int) -> Renderer:
        """Return what takes pictures, of about this size [px].

        Raises:
            UserError: these envs cannot be seen, or not on this machine.
        """
        ...


@runtime_checkable
class EnvMaker(Protocol):
    """What a task's config names where the task brings its own simulator."""

    name: str  # also `spec.task`
    spec: EnvSpec  # may start the simulator to ask for it

    def make_env(self, num_envs: int) -> TaskEnv:
        """Start the simulator with `num_envs` envs."""
        ...


@runtime_checkable
class Policy(Protocol):
    """A stateless chunk policy: an nn.Module whose normaliser is part of its weights."""

    spec: EnvSpec  # its observations are those that the policy sees
    obs_history: int  # To
    horizon: int  # H, predicted actions
    execute: int  # Ta, actions executed before replanning

    def act(self, obs: Obs, rng: EpisodeRng) -> Tensor:
        """Return chunks (B, H, A) in environment units for histories (B, To, ...)."""
        ...

    def loss(self, batch: Batch, rng: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar training loss and detached metrics."""
        ...


@runtime_checkable
class Teleop(Protocol):
    """A device through which a person drives an arm. One reader; `read` never blocks."""

    def connect(self) -> None:
        """Open the device.

        Raises:
            UserError: it is missing or its package is not installed; says what to do.
        """
        ...

    def read(self) -> TeleopCommand:
        """Return the present command; events are returned once.

        Raises:
            DeviceLostError: the device is gone or says nothing any more: hold the arm.
        """
        ...

    def show(self, frames: Mapping[str, np.ndarray], status: Mapping[str, str]) -> None:
        """Show the person the cameras' pictures, (H, W, 3) uint8 by name, and short facts by name.

        A device without a screen may ignore the pictures.
        """
        ...

    def close(self) -> None:
        """Let the device go; safe twice."""
        ...


@runtime_checkable
class Teacher(Protocol):
    """Says what it would do in any state, whoever led there, of all that an environment shows."""

    def answer(self, obs: Obs) -> Tensor:
        """Return what it would do: log-probabilities (B, n) of n choices, or mean actions (B, A).

        Which of the two, the action's spec says: `types.num_choices`.
        """
        ...


@runtime_checkable
class EpisodeTeacher(Protocol):
    """A teacher of B episodes whose answers may depend on their course: it is asked once at each state."""

    def begin(self, mask: Tensor, seeds: Tensor) -> None:
        """Forget the episodes of the envs in `mask` (B,) bool; others with `seeds` (B,) begin there."""
        ...

    def answer(self, obs: Obs, mask: Tensor | None = None) -> Tensor:
        """Return what `Teacher.answer` does, at the next state of every episode, or of those in `mask` (B,).

        Rows outside of `mask` mean nothing, and what is remembered of their episodes stays.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered of the running episodes."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


@runtime_checkable
class TaughtTask(Protocol):
    """A task or an `EnvMaker` that brings a teacher along."""

    def teacher(self) -> Teacher:
        """Return who sees what students do not."""
        ...


@runtime_checkable
class Agent(Protocol):
    """Whatever chooses actions in a VecEnv: an executor, a residual agent, a scripted expert."""

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        """Forget everything about the envs in `mask` (B,) bool; reseed them from `seeds` (B,)."""
        ...

    def next(self, obs: Obs) -> Tensor:
        """Return the action (B, A) of this control step, in environment units."""
        ...


@runtime_checkable
class AskedAgent(Agent, Protocol):
    """An agent with a memory that can be asked what it would do while others act."""

    def catch_up(self, obs: Obs) -> None:
        """Make the memory agree with what `obs` shows, before `next`; nothing changes if it was followed."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the memory: tensors (B, ...) by name, nested or not."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...
