"""Where the parts of each pair stand to one another: as sensors measure it, and as policies see it."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import mujoco
import torch
from torch import Tensor

from robofb.envs.furniture.pairs import Pair, Part
from robofb.geometry import rot6d_to_matrix, seen_from
from robofb.interfaces import Engine
from robofb.sim.engine import sensor_columns

ANGLE_SCALE = 0.1  # rad of tilt, and sine of heading
GRASP_SCALE_M = 0.02


class Relations(NamedTuple):
    """How P plugs stand, (..., P, 3) each."""

    grasp: Tensor  # from the TCP to the plug's grasp, in the TCP's frame [m]
    place: Tensor  # of the plug's seat in the socket's seat [m]
    z_axis: Tensor  # of the plug, as the socket sees it
    x_axis: Tensor


class PairRelations:
    """Tell how the parts of pairs stand to one another.

    Args:
        model: the scene, with the sensors of `add_pair`.
        pairs: P of them.
        parts: among them the plugs.
    """

    def __init__(self, model: mujoco.MjModel, pairs: Sequence[Pair], parts: Sequence[Part]) -> None:
        self.pairs = tuple(pairs)
        grasps_m = {part.name: part.grasp_m for part in parts}
        self._grasps_m = [grasps_m[pair.plug] for pair in pairs]
        what = ("grasp", "pos", "zaxis", "xaxis", "overlap")
        self._columns = torch.stack(
            [sensor_columns(model, *(f"{pair.name}_{each}" for each in what)) for pair in pairs]
        )  # (P, 13)
        self._scale = torch.tensor(
            [[*(pair.near_m,) * 3, *(pair.far_m,) * 3, *(ANGLE_SCALE,) * 2] for pair in pairs],
            dtype=torch.float64,
        )
        self._symmetry = torch.tensor([float(pair.symmetry) for pair in pairs], dtype=torch.float64)
        self._any_axes = torch.tensor([pair.position_only for pair in pairs])

    def to(self, device: torch.device) -> Self:
        """Return this with its tensors on another device."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        return moved

    def measure(self, engine: Engine) -> tuple[Relations, Tensor]:
        """Return what the sensors measure now, and how deep plug and socket overlap, (B, P) [m] >= 0."""
        *relations, contact = engine.field("sensordata")[:, self._columns].split([3, 3, 3, 3, 1], -1)
        return Relations(*relations), (-contact[..., 0]).clamp_min(0.0)

    def from_state(self, state: Tensor, names: tuple[str, ...]) -> Relations:
        """Return what the sensors would measure, from the poses of states (..., D)."""
        relations = zip(*(self._relate(state, names, row) for row in range(len(self.pairs))), strict=True)
        return Relations(*(torch.stack(values, -2) for values in relations))

    def _relate(self, state: Tensor, names: tuple[str, ...], row: int) -> tuple[Tensor, ...]:
        """Return one pair's relations, (..., 3) each, from the poses of states (..., D)."""
        pair = self.pairs[row]
        columns = [names.index(f"{body}_pos_base_x") for body in ("ee", pair.plug, pair.socket)]
        tcp, plug, socket = (state[..., at : at + 3].double() for at in columns)
        turns = [rot6d_to_matrix(state[..., at + 3 : at + 9].double()) for at in columns]
        tcp_turn, plug_turn, socket_turn = turns
        grasp = plug + plug_turn @ plug.new_tensor(self._grasps_m[row]) - tcp
        seat = plug + plug_turn @ plug.new_tensor(pair.plug_seat_m)
        goal = socket + socket_turn @ plug.new_tensor(pair.socket_seat_m)
        return (
            seen_from(tcp_turn, grasp),
            seen_from(socket_turn, seat - goal),
            seen_from(socket_turn, plug_turn[..., 2]),
            seen_from(socket_turn, plug_turn[..., 0]),
        )

    def features(self, relations: Relations) -> Tensor:
        """Squash relations to features (..., P * 13)."""
        grasp, place, z_axis, x_axis = relations
        heading = torch.atan2(x_axis[..., 1], x_axis[..., 0]) * self._symmetry.to(place).clamp_min(1.0)
        near = torch.cat([place, place, z_axis[..., :2]], -1) / self._scale.to(place)
        squashed = torch.tanh(torch.cat([grasp / GRASP_SCALE_M, near], -1))
        return torch.cat([squashed, _heading_features(heading)], -1).flatten(-2)

    def axes_fit(self, relations: Relations, min_cosine: float) -> Tensor:
        """Return (B, P): whether the axes that matter agree, up to the pair's symmetry."""
        _, _, z_axis, x_axis = relations
        heading = torch.atan2(x_axis[..., 1], x_axis[..., 0])
        symmetry = self._symmetry.clamp_min(1.0)
        off = torch.remainder(heading * symmetry + math.pi, 2 * math.pi) - math.pi
        turned = (torch.cos(off / symmetry) >= min_cosine) | (self._symmetry == 0)
        return ((z_axis[..., 2] >= min_cosine) & turned) | self._any_axes


def _heading_features(angle: Tensor) -> Tensor:
    """Return (..., 2): cosine, and sine squashed so that a keyed plug's milliradians stay visible."""
    return torch.stack([torch.cos(angle), torch.tanh(torch.sin(angle) / ANGLE_SCALE)], -1)
