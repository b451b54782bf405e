"""MuJoCo on the CPU: many worlds of one model on a C thread pool (`mujoco.batch`)."""

from __future__ import annotations

import mujoco
import numpy as np
import torch
from torch import Tensor

from robofb.rng import EpisodeRng
from robofb.sim.engine import world_ids
from robofb.sim.randomization import DomainRandomization

_VELOCITY_STAGE = mujoco.mjtStage.mjSTAGE_VEL.value
# The counters of bad positions, velocities and accelerations stand side by side.
_DIVERGED = slice(mujoco.mjtWarning.mjWARN_BADQPOS.value, mujoco.mjtWarning.mjWARN_BADQACC.value + 1)


class MujocoEngine:
    """Step `num_worlds` copies of a model; the same results for any number of threads.

    Tensors are float64 and live: `field` returns views into the simulator's own memory.

    Args:
        model: the compiled scene.
        num_worlds: number of copies, B.
        num_threads: C threads that share the worlds; 0 takes every CPU.
        randomization: what differs between episodes, or None.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        num_worlds: int,
        num_threads: int = 0,
        randomization: DomainRandomization | None = None,
    ) -> None:
        from mujoco.batch import Batch  # new in 3.17: simulators that come with an older one need none

        if num_worlds < 1:
            raise ValueError(f"num_worlds must be at least 1, not {num_worlds}")
        self.model = model
        self.num_worlds = num_worlds
        self.device = torch.device("cpu")
        self.randomization = randomization
        self._batch = Batch(model, nsim=num_worlds, nthread=num_threads, persistent=True)
        self._fields: dict[str, Tensor] = {}
        self._batch.reset()
        self._initial = self._batch.state[0].copy()

    def field(self, name: str) -> Tensor:
        """Return the live (B, ...) tensor of an MjData field; derived fields must not be written."""
        if name not in self._fields:
            array = self._batch.bind(name)
            if not array.flags.writeable:
                array = array.view()
                array.flags.writeable = True  # torch warns of read-only memory; the contract forbids writes
            self._fields[name] = torch.from_numpy(array)
            self._batch.forward(stage=_VELOCITY_STAGE)
        return self._fields[name]

    def step(self, num_substeps: int) -> None:
        """Advance every world by `num_substeps` of physics; position and velocity fields are current."""
        self._batch.step(nstep=num_substeps, stage=_VELOCITY_STAGE)

    def diverged(self) -> Tensor:
        """Return (B,) bool: worlds that MuJoCo had to reset since the last call (bad state)."""
        counts = self._batch.warning[:, _DIVERGED, 1]  # last axis: info, count
        diverged = counts.any(-1)
        if diverged.any():
            counts[diverged] = 0
        return torch.from_numpy(diverged)

    def reset(self, ids: Tensor) -> None:
        """Set worlds to the model's initial state, without computing derived fields."""
        rows = world_ids(ids, self.num_worlds, self.device).numpy()
        self._batch.state[rows] = self._initial

    def forward(self, ids: Tensor) -> None:
        """Recompute position and velocity fields of some worlds from their state."""
        rows = world_ids(ids, self.num_worlds, self.device).numpy()
        self._batch.forward(np.unique(rows), stage=_VELOCITY_STAGE)

    def snapshot(self, ids: Tensor | None = None) -> Tensor:
        """Return the full integration state (n, S) of some worlds (mjSTATE_INTEGRATION)."""
        return torch.from_numpy(
            self._batch.state[world_ids(ids, self.num_worlds, self.device).numpy()].copy()
        )

    def restore(self, ids: Tensor, state: Tensor) -> None:
        """Put worlds into states from `snapshot`; stepping on repeats the original bit for bit."""
        rows = world_ids(ids, self.num_worlds, self.device).numpy()
        if tuple(state.shape) != (len(rows), self._batch.nstate):
            raise ValueError(f"state must be {(len(rows), self._batch.nstate)}, not {tuple(state.shape)}")
        self._batch.state[rows] = state.numpy()
        self._batch.forward(np.unique(rows), stage=_VELOCITY_STAGE)  # wants sorted indices

    def model_field(self, name: str) -> Tensor:
        """Return the live (B, ...) tensor of an MjModel field, with values of its own for each world.

        Raises:
            ValueError: there is no such field, or not for each world.
        """
        return torch.from_numpy(self._batch.expand(name))

    def constants_changed(self, ids: Tensor) -> None:
        """Recompute what follows from masses and inertias after these were written in `model_field`."""
        self._batch.set_const(np.unique(world_ids(ids, self.num_worlds, self.device).numpy()))

    def randomize(self, ids: Tensor, rng: EpisodeRng) -> None:
        """Draw the physical constants of worlds anew, from `rng` (n rows)."""
        if self.randomization is not None:
            self.randomization.apply(self, ids, rng)

    def close(self) -> None:
        """Let go of the simulator; further calls fail. Safe twice."""
        self._fields.clear()
        if hasattr(self, "_batch"):
            del self._batch
