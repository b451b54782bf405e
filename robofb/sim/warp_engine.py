"""MuJoCo Warp: thousands of worlds of one model on a GPU; on the CPU for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.rng import EpisodeRng
from robofb.sim.engine import world_ids
from robofb.sim.randomization import DomainRandomization
from robofb.sim.warp_render import WarpRenderer
from robofb.sim.warp_setup import find_device, import_warp, tell_of_compiling
from robofb.sim.warp_sizes import check_room, constraints_per_world, contacts_per_world

# The parts of mjSTATE_INTEGRATION, in its order.
_STATE = (
    "time",
    "qpos",
    "qvel",
    "act",
    "history",
    "qacc_warmstart",
    "ctrl",
    "qfrc_applied",
    "xfrc_applied",
    "eq_active",
    "mocap_pos",
    "mocap_quat",
    "userdata",
)
# What set_const computes from masses and inertias: one value for each world, once these have one.
_DERIVED_CONSTANTS = (
    "body_subtreemass",
    "dof_invweight0",
    "body_invweight0",
    "tendon_invweight0",
    "actuator_acc0",
)
RENDERERS = ("mujoco", "warp")
_TOLERANCE = 1e-8  # of the solver; the default of MuJoCo Warp, 1e-6, is relative to the whole model's inertia


class WarpEngine:
    """Step `num_worlds` copies of a model on one device; satisfies `interfaces.Engine`.

    Tensors are float32 (eq_active is bool) and live: `field` returns views of the simulator's memory. A
    control step is one graph (a CUDA graph on a GPU), recorded when it is first repeated. `step` waits for
    the device once, to see whether a buffer overflowed or a world diverged.

    Args:
        model: the compiled scene.
        num_worlds: number of copies, B.
        device: "cpu", "cuda", "cuda:1", ..., or "auto": a GPU where there is one.
        contacts: room for contacts, per world; all worlds share it. None derives it from the model.
        constraints: room for constraint rows of each world. None derives it from the model.
        deterministic: on a GPU, sum and sort in a fixed order, so that runs repeat; slower.
        randomization: what differs between episodes, or None.
        renderer: of image observations: "mujoco", MuJoCo's own, one world at a time, as on the other engine;
            or "warp", all worlds at once on the device.

    Raises:
        UserError: MuJoCo Warp is not installed, the device is not there, the renderer is none, or the scene
            has parts that MuJoCo Warp cannot simulate.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        num_worlds: int,
        device: str = "auto",
        contacts: int | None = None,
        constraints: int | None = None,
        deterministic: bool = False,
        randomization: DomainRandomization | None = None,
        renderer: str = "mujoco",
    ) -> None:
        if num_worlds < 1:
            raise ValueError(f"num_worlds must be at least 1, not {num_worlds}")
        if renderer not in RENDERERS:
            raise UserError(f"engine.renderer={renderer}: no such renderer; valid: {', '.join(RENDERERS)}")
        self._renders = renderer == "warp"
        self._wp, self._mjw, self._kernels = import_warp()
        self.device = find_device(device, self._wp)
        self.model, self.num_worlds, self.randomization = model, num_worlds, randomization
        contacts = contacts_per_world(model) if contacts is None else contacts
        constraints = constraints_per_world(model, contacts) if constraints is None else constraints
        if min(contacts, constraints) < 1:
            raise UserError(f"contacts={contacts}, constraints={constraints}: each needs at least 1")
        self._host = mujoco.MjData(model)  # knows the shapes of fields
        with self._wp.ScopedDevice(str(self.device)):
            self._make(contacts, constraints, deterministic)
        self._fields: dict[str, Tensor] = {}
        self._model_fields: dict[str, Tensor] = {}
        self._warm: set[str] = set()
        self._graphs: dict[str, Any] = {}
        self._state = [self._view(name).reshape(num_worlds, -1) for name in _STATE]
        self._sizes = [part.shape[1] for part in self._state]
        self._bad = torch.zeros(num_worlds, dtype=torch.bool, device=self.device)
        self._initial = self.snapshot(torch.zeros(1, dtype=torch.int64, device=self.device))
        tell_of_compiling(self.device, self._wp)
        self._run("forward", self._launch_forward)

    def _make(self, contacts: int, constraints: int, deterministic: bool) -> None:
        """Put model and worlds on the device."""
        wp, mjw = self._wp, self._mjw
        try:
            self._model = mjw.put_model(self.model)
            self._data = mjw.make_data(self.model, self.num_worlds, nconmax=contacts, njmax=constraints)
        except (NotImplementedError, ValueError) as error:
            raise UserError(f"engine warp cannot simulate this scene: {error}") from error
        self._model.opt.tolerance.fill_(max(float(self.model.opt.tolerance), _TOLERANCE))
        self._model.opt.warn_overflow = 0  # kernels would print; `step` raises instead
        self._model.opt.deterministic = deterministic
        self._report = wp.zeros(self._kernels.REPORT_SIZE, dtype=int)
        self._diverged = wp.zeros(self.num_worlds, dtype=bool)
        late = self.model.sensor_needstage == mujoco.mjtStage.mjSTAGE_ACC
        columns = [
            np.arange(adr, adr + dim)
            for adr, dim in zip(self.model.sensor_adr[late], self.model.sensor_dim[late], strict=True)
        ]
        self._late_columns = wp.array(np.concatenate([[], *columns]).astype(np.int32), dtype=int)
        self._late_values = wp.zeros_like(self._data.sensordata)

    def field(self, name: str) -> Tensor:
        """Return the live (B, ...) tensor of an MjData field; derived fields must not be written.

        Raises:
            ValueError: there is no such field, or not one of every world.
        """
        if name not in self._fields:
            self._fields[name] = self._view(name)
        return self._fields[name]

    def _view(self, name: str) -> Tensor:
        array, like = getattr(self._data, name, None), getattr(self._host, name, None)
        if not isinstance(array, self._wp.array) or like is None:
            raise ValueError(f"engine warp has no field {name!r}")
        return self._wp.to_torch(array).view(self.num_worlds, *np.shape(like))

    def renderer_of(self, cameras: Mapping[str, tuple[int, int]]) -> WarpRenderer | None:
        """Return what renders all worlds at once, see `WarpRenderer`; None where MuJoCo shall render them.

        Raises:
            UserError: MuJoCo Warp cannot render the scene.
        """
        if not self._renders:
            return None
        with self._wp.ScopedDevice(str(self.device)):
            try:
                scene = self.model, self._model, self._data, self.num_worlds
                return WarpRenderer(self._wp, self._mjw, *scene, cameras, self._run)
            except (NotImplementedError, ValueError) as error:
                raise UserError(f"MuJoCo Warp cannot render this scene: {error}") from error

    def step(self, num_substeps: int) -> None:
        """Advance every world by `num_substeps` of physics; position and velocity fields are current.

        Raises:
            UserError: a buffer was too small; the worlds are no longer what they should be.
        """
        self._run(f"step {num_substeps}", lambda: self._launch_steps(num_substeps))
        noted = self._wp.to_torch(self._report)
        report = noted.tolist()  # the one wait for the device
        noted.zero_()
        self._wp.to_torch(self._data.overflow).zero_()
        check_room(report, self._data.naconmax, self._data.njmax, self.num_worlds)
        if report[0]:
            diverged = self._wp.to_torch(self._diverged)
            self._bad |= diverged
            ids = diverged.nonzero().squeeze(-1)
            diverged.zero_()
            self.reset(ids)
            self.forward(ids)

    def diverged(self) -> Tensor:
        """Return (B,) bool: worlds that went bad (huge or no numbers) and were reset since the last call."""
        diverged = self._bad.clone()
        self._bad.zero_()
        return diverged

    def reset(self, ids: Tensor) -> None:
        """Set worlds to the model's initial state, without computing derived fields."""
        ids = world_ids(ids, self.num_worlds, self.device)
        self._write(ids, self._initial.expand(len(ids), -1))

    def forward(self, ids: Tensor) -> None:
        """Recompute position and velocity fields from the state: of all worlds, which costs the same."""
        world_ids(ids, self.num_worlds, self.device)
        self._run("forward", self._launch_forward)

    def snapshot(self, ids: Tensor | None = None) -> Tensor:
        """Return the full state (n, S) float64 of some worlds, laid out as mjSTATE_INTEGRATION."""
        ids = world_ids(ids, self.num_worlds, self.device)
        return torch.cat([part[ids].double() for part in self._state], -1)

    def restore(self, ids: Tensor, state: Tensor) -> None:
        """Put worlds into states from `snapshot`, of this engine or another one.

        On the CPU, and on a GPU with `deterministic`, stepping on repeats the original bit for bit; else
        a GPU sums in varying order, and worlds in contact drift apart.
        """
        ids = world_ids(ids, self.num_worlds, self.device)
        if tuple(state.shape) != (len(ids), sum(self._sizes)):
            raise ValueError(f"state must be {(len(ids), sum(self._sizes))}, not {tuple(state.shape)}")
        self._write(ids, state.to(self.device))
        self._run("forward", self._launch_forward)

    def _write(self, ids: Tensor, state: Tensor) -> None:
        for part, values in zip(self._state, state.split(self._sizes, -1), strict=True):
            part[ids] = values.to(part.dtype)

    def model_field(self, name: str) -> Tensor:
        """Return the live (B, ...) tensor of an MjModel field, with values of its own for each world.

        Raises:
            ValueError: MuJoCo Warp keeps no such field for each world.
        """
        if name not in self._model_fields:
            holder, host = self._model, self.model
            *path, last = name.split(".")
            for step in path:
                holder, host = getattr(holder, step, None), getattr(host, step, None)
            if not hasattr(host, last) or not getattr(getattr(holder, last, None), "_is_batched", False):
                raise ValueError(f"engine warp has no model field {name!r} of each world")
            shape = (self.num_worlds, *np.shape(getattr(host, last)))
            self._model_fields[name] = self._expand(holder, last).view(shape)
        return self._model_fields[name]

    def _expand(self, holder: Any, name: str) -> Tensor:
        """Give a field of the model a row for each world."""
        wp, shared = self._wp, getattr(holder, name)
        if shared.shape[0] != self.num_worlds:
            shape = (self.num_worlds, *shared.shape[1:])
            rows = wp.empty(shape, dtype=shared.dtype, device=str(self.device))
            wp.to_torch(rows).copy_(wp.to_torch(shared)[:1].expand_as(wp.to_torch(rows)))
            rows._is_batched = True
            setattr(holder, name, rows)
            self._graphs.clear()  # they hold the old field
        return wp.to_torch(getattr(holder, name))

    def constants_changed(self, ids: Tensor) -> None:
        """Recompute what follows from masses and inertias after these were written in `model_field`."""
        world_ids(ids, self.num_worlds, self.device)
        for name in _DERIVED_CONSTANTS:
            self._expand(self._model, name)
        self._run("constants", lambda: self._mjw.set_const(self._model, self._data))

    def randomize(self, ids: Tensor, rng: EpisodeRng) -> None:
        """Draw the physical constants of worlds anew, from `rng` (n rows)."""
        if self.randomization is not None:
            self.randomization.apply(self, ids, rng)

    def close(self) -> None:
        """Let go of the simulator; further calls fail. Safe twice."""
        for held in (self._fields, self._model_fields, self._graphs):
            held.clear()
        self._state = []
        self.__dict__.pop("_data", None)
        self.__dict__.pop("_model", None)

    def _run(self, name: str, launch: Callable[[], None]) -> None:
        """Do some launches: kernel by kernel at first, which compiles them, then recorded as a graph."""
        wp, device = self._wp, str(self.device)
        cuda = self.device.type == "cuda"
        stream = wp.stream_from_torch(torch.cuda.current_stream(self.device)) if cuda else None
        if name not in self._warm:
            with wp.ScopedDevice(device), wp.ScopedStream(stream):
                launch()
            self._warm.add(name)
            return
        if name not in self._graphs:
            with wp.ScopedDevice(device), wp.ScopedCapture(device) as capture:  # on a stream of Warp's own
                launch()
            self._graphs[name] = capture.graph
        wp.capture_launch(self._graphs[name], stream=stream)

    def _launch_steps(self, num_substeps: int) -> None:
        wp, data = self._wp, self._data
        for _ in range(num_substeps):
            self._mjw.step(self._model, data)
            self._launch_peaks()
        for values in (data.qpos, data.qvel, data.act):
            wp.launch(
                self._kernels.note_diverged,
                dim=values.shape,
                inputs=[values],
                outputs=[self._diverged, self._report],
            )
        self._launch_forward()

    def _launch_forward(self) -> None:
        """Compute positions and velocities with their sensors; those of accelerations keep their values."""
        wp, mjw, model, data = self._wp, self._mjw, self._model, self._data
        wp.copy(self._late_values, data.sensordata)
        data.sensordata.zero_()
        mjw.fwd_position(model, data, factorize=False)
        mjw.sensor_pos(model, data)
        mjw.fwd_velocity(model, data)
        mjw.sensor_vel(model, data)
        wp.launch(
            self._kernels.copy_columns,
            dim=(self.num_worlds, self._late_columns.size),
            inputs=[self._late_columns, self._late_values],
            outputs=[data.sensordata],
        )
        self._launch_peaks()

    def _launch_peaks(self) -> None:
        data = self._data
        self._wp.launch(
            self._kernels.note_peaks,
            dim=self.num_worlds,
            inputs=[data.ncollision, data.nacon, data.nefc, data.overflow],
            outputs=[self._report],
        )
