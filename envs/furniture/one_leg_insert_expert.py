"""A scripted expert for one_leg_insert that hesitates and errs like a person at a teleoperation device."""

from __future__ import annotations

import math
from enum import IntEnum

import torch
from torch import Tensor

from robofb.envs.furniture.expert_memory import ExpertMemory, within_lead
from robofb.envs.furniture.moves import Pose
from robofb.envs.furniture.one_leg_insert import GRASP_HEIGHT_M, STATE_NAMES
from robofb.envs.furniture.parts import Leg, TableTop
from robofb.geometry import matrix_to_rot6d, matrix_to_rotvec, rot6d_to_matrix, rotvec_to_matrix, seen_from
from robofb.rng import EXPERT_STREAM, EpisodeRng, derive_seeds
from robofb.types import Obs

_DOWN = torch.tensor([[1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0]])


class Phase(IntEnum):
    """What the expert is doing."""

    REACH = 0
    DESCEND = 1
    CLOSE = 2
    LIFT = 3
    TRANSPORT = 4
    ALIGN = 5
    INSERT = 6


# Per phase: speed [m/s], tolerance to go on [m], least and most control steps.
_SPEED = (0.30, 0.20, 0.0, 0.25, 0.30, 0.12, 0.06)
_TOLERANCE = (0.012, 0.003, 9.0, 0.02, 0.012, 0.0012, 0.0)
_LEAST = (1, 1, 4, 1, 1, 2, 0)
_MOST = (40, 20, 4, 20, 40, 15, 14)
_NEXT = (1, 2, 3, 4, 5, 6, 5)  # a stuck insertion goes back to aligning
_MAX_TURN_RAD = 0.25
# Where others act: beyond these the leg is not in the hand, the hand not above the leg, the leg not above
# the hole, not on it; and below this the peg is too near the table for a way to the hole.
_LOST_M, _BESIDE_M, _AWAY_M, _OFF_HOLE_M, _LOW_M = 0.025, 0.02, 0.03, 0.004, 0.01


def _columns(prefix: str) -> slice:
    """Return where the state values whose names start with `prefix` stand."""
    rows = [index for index, name in enumerate(STATE_NAMES) if name.startswith(prefix)]
    return slice(rows[0], rows[-1] + 1)


class OneLegInsertExpert(ExpertMemory):
    """State machine over waypoints; an `interfaces.Agent` that reads the state observation.

    Args:
        num_envs: B.
        noise: scale of all human-like errors; 0 acts perfectly, 1 like a practised person.
    """

    MEMORY = (
        *("phase", "_steps", "_pause", "_command", "_command_rotation", "_fresh", "_drift", "_grasp_error"),
        *("_hole_error", "_yaw_error", "_speed"),
    )

    def __init__(self, num_envs: int, noise: float = 1.0) -> None:
        self.num_envs, self.noise = num_envs, noise
        self.leg, self.top = Leg(), TableTop()
        self._rng = EpisodeRng(torch.zeros(num_envs, dtype=torch.int64))
        self.phase = torch.zeros(num_envs, dtype=torch.int64)
        self._steps, self._pause = self.phase.clone(), self.phase.clone()
        self._command = torch.zeros(num_envs, 3)
        self._command_rotation = _DOWN.expand(num_envs, 3, 3).clone()
        self._fresh = torch.ones(num_envs, dtype=torch.bool)
        self._drift = torch.zeros(num_envs, 3)
        self._grasp_error, self._hole_error = torch.zeros(num_envs, 3), torch.zeros(num_envs, 2)
        self._yaw_error, self._speed = torch.zeros(num_envs), torch.ones(num_envs)
        self._table = {
            name: torch.tensor(values)
            for name, values in (
                ("speed", _SPEED),
                ("tolerance", _TOLERANCE),
                ("least", _LEAST),
                ("most", _MOST),
                ("next", _NEXT),
            )
        }

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        """Start anew in the envs of `mask` (B,), with errors drawn from `seeds` (B,)."""
        rows, seeds = mask.cpu().nonzero().squeeze(-1), seeds.cpu()
        if not len(rows):
            return
        self._rng.reseed(rows, derive_seeds(seeds[rows], EXPERT_STREAM))
        rng = self._rng.select(rows)
        for tensor in (self.phase, self._steps, self._pause, self._drift):
            tensor[rows] = 0
        self._fresh[rows] = True
        scale = torch.tensor(
            [0.003, 0.0, 0.004]
        )  # along the pads and up the leg; across is centred by closing
        self._grasp_error[rows] = self.noise * scale * rng.normal(3)
        self._yaw_error[rows] = self.noise * math.radians(3) * rng.normal(1)[:, 0]
        self._hole_error[rows] = self.noise * 0.0008 * rng.normal(2)
        self._speed[rows] = 1.0 - 0.3 * min(self.noise, 1.0) * rng.uniform(1)[:, 0]

    def next(self, obs: Obs) -> Tensor:
        """Return actions (B, 10) on the CPU for states (B, 45)."""
        state = obs["state"].cpu()
        tcp, tcp_rotation = state[:, _columns("ee_pos")], rot6d_to_matrix(state[:, _columns("ee_rot6d")])
        self._command = torch.where(self._fresh[:, None], tcp, self._command)
        self._command_rotation = torch.where(self._fresh[:, None, None], tcp_rotation, self._command_rotation)
        self._fresh[:] = False
        target, rotation, distance = self._waypoint(state, tcp, tcp_rotation)
        self._advance(distance)
        self._move(target, rotation)
        return torch.cat([self._noisy_command(), self._rotation6d(), self._gripper()], -1)

    def catch_up(self, obs: Obs) -> None:
        """Wait for the hand where it is led elsewhere, and go back where what a phase stands on is gone."""
        state = obs["state"].cpu()
        tcp = Pose(state[:, _columns("ee_pos")], rot6d_to_matrix(state[:, _columns("ee_rot6d")]))
        command, waits = within_lead(Pose(self._command, self._command_rotation), tcp)
        self._command, self._command_rotation = command.position, command.rotation
        phase = self._phase_that_holds(state, tcp.position)
        steps = torch.where(waits, (self._steps - 1).clamp_min(0), self._steps)
        self._steps = torch.where(phase == self.phase, steps, 0)
        self.phase = phase

    def _phase_that_holds(self, state: Tensor, tcp: Tensor) -> Tensor:
        """Return the phase (B,) to go on with, the present one or one before it."""
        leg, axis = state[:, _columns("leg_pos")], rot6d_to_matrix(state[:, _columns("leg_rot6d")])[:, :, 2]
        top, top_rotation = state[:, _columns("top_pos")], rot6d_to_matrix(state[:, _columns("top_rot6d")])
        to_grasp = leg + GRASP_HEIGHT_M * axis - tcp
        tip = seen_from(top_rotation, leg - self.leg.peg_length * axis - top)
        off_hole = (tip[:, :2] - self.top.hole_xy).norm(dim=-1)
        phase = self.phase

        def back(where: Tensor, to: Phase) -> Tensor:
            return torch.where(where & (phase > to), to, phase)

        phase = back((phase == Phase.INSERT) & (off_hole > _OFF_HOLE_M) & (tip[:, 2] > 0), Phase.ALIGN)
        phase = back(off_hole > _AWAY_M, Phase.TRANSPORT)
        phase = back((off_hole > _AWAY_M) & (tip[:, 2] < _LOW_M), Phase.LIFT)
        phase = back((phase == Phase.DESCEND) & (to_grasp[:, :2].norm(dim=-1) > _BESIDE_M), Phase.REACH)
        return back((phase >= Phase.CLOSE) & (to_grasp.norm(dim=-1) > _LOST_M), Phase.REACH)

    def _waypoint(self, state: Tensor, tcp: Tensor, tcp_rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the TCP target (B, 3), its rotation (B, 3, 3) and the distance left (B,) [m]."""
        leg, leg_rotation = state[:, _columns("leg_pos")], rot6d_to_matrix(state[:, _columns("leg_rot6d")])
        top, top_rotation = state[:, _columns("top_pos")], rot6d_to_matrix(state[:, _columns("top_rot6d")])
        grasp, grasp_rotation = self._grasp_pose(leg, leg_rotation, tcp_rotation)
        above = torch.zeros(self.num_envs, 3)
        above[:, 2] = torch.where(self.phase == Phase.REACH, 0.06, 0.0)
        carried, carried_rotation, gap = self._carry_pose(
            leg, leg_rotation, top, top_rotation, tcp, tcp_rotation
        )
        lift = torch.cat([leg[:, :2], torch.full((self.num_envs, 1), 0.11)], -1) + (tcp - leg)
        picking = (self.phase <= Phase.CLOSE)[:, None]
        lifting = (self.phase == Phase.LIFT)[:, None]
        target = torch.where(picking, grasp + above, torch.where(lifting, lift, carried))
        rotation = torch.where((picking | lifting)[..., None], grasp_rotation, carried_rotation)
        rotation = torch.where(lifting[..., None], self._command_rotation, rotation)
        distance = torch.where(self.phase >= Phase.TRANSPORT, gap, (target - tcp).norm(dim=-1))
        return target, rotation, distance

    def _grasp_pose(self, leg: Tensor, leg_rotation: Tensor, tcp_rotation: Tensor) -> tuple[Tensor, Tensor]:
        """Return where to grip the leg: fingers across two of its faces, the nearest way round."""
        heading = torch.atan2(leg_rotation[:, 1, 0], leg_rotation[:, 0, 0])
        present = torch.atan2(tcp_rotation[:, 1, 0], tcp_rotation[:, 0, 0])
        quarter = math.pi / 2
        yaw = heading - quarter * torch.round((heading - present) / quarter) + self._yaw_error
        rotvec = torch.stack([torch.zeros_like(yaw), torch.zeros_like(yaw), yaw], -1)
        rotation = rotvec_to_matrix(rotvec) @ _DOWN
        error = (rotation @ self._grasp_error.unsqueeze(-1)).squeeze(-1)
        return leg + GRASP_HEIGHT_M * leg_rotation[:, :, 2] + error, rotation

    def _carry_pose(
        self,
        leg: Tensor,
        leg_rotation: Tensor,
        top: Tensor,
        top_rotation: Tensor,
        tcp: Tensor,
        tcp_rotation: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the TCP pose that brings the held leg to its goal above or in the hole, and the gap [m]."""
        normal = top_rotation[:, :, 2]
        height = torch.where(
            self.phase == Phase.TRANSPORT, 0.03, torch.where(self.phase == Phase.ALIGN, 0.004, -0.020)
        )
        hole = torch.full((self.num_envs, 3), self.top.hole_xy)
        hole[:, :2] += self._hole_error
        hole[:, 2] = 0.0
        goal = top + (top_rotation @ hole.unsqueeze(-1)).squeeze(-1)
        goal = goal + (self.leg.peg_length + height).unsqueeze(-1) * normal
        axis = leg_rotation[:, :, 2]
        correction = rotvec_to_matrix(torch.linalg.cross(axis, normal))  # small tilts: sine = angle
        target = goal + (correction @ (tcp - leg).unsqueeze(-1)).squeeze(-1)
        gap = (leg - goal).norm(dim=-1) + 0.02 * (correction @ axis.unsqueeze(-1)).squeeze(-1).sub(axis).norm(
            dim=-1
        )
        return target, correction @ tcp_rotation, gap

    def _advance(self, distance: Tensor) -> None:
        """Go on to the next phase where the waypoint is reached or time is up."""
        table = self._table
        ready = (distance < table["tolerance"][self.phase]) & (self._steps >= table["least"][self.phase])
        late = self._steps >= table["most"][self.phase]
        retry = late & (self.phase == Phase.INSERT)
        go = ready | late
        self._hole_error = torch.where(retry[:, None], 0.0008 * self._rng.normal(2), self._hole_error)
        self.phase = torch.where(go, table["next"][self.phase], self.phase)
        self._steps = torch.where(go, 0, self._steps + 1)
        hesitate = go & (self._rng.uniform(1)[:, 0] < 0.35 * self.noise)
        length = 1 + (3 * self._rng.uniform(1)[:, 0]).long()
        self._pause = torch.where(hesitate, length, (self._pause - 1).clamp_min(0))

    def _move(self, target: Tensor, rotation: Tensor) -> None:
        """Move the command towards the waypoint at the phase's speed."""
        limit = (self._table["speed"][self.phase] * self._speed * 0.1).unsqueeze(-1)
        moving = (self._pause == 0).unsqueeze(-1)
        delta = target - self._command
        delta = delta * (limit / delta.norm(dim=-1, keepdim=True).clamp_min(1e-9)).clamp_max(1.0)
        self._command = torch.where(moving, self._command + delta, self._command)
        turn = matrix_to_rotvec(rotation @ self._command_rotation.transpose(1, 2))
        turn = turn * (_MAX_TURN_RAD / turn.norm(dim=-1, keepdim=True).clamp_min(1e-9)).clamp_max(1.0)
        turned = rotvec_to_matrix(turn) @ self._command_rotation
        self._command_rotation = torch.where(moving.unsqueeze(-1), turned, self._command_rotation)

    def _noisy_command(self) -> Tensor:
        """Return the commanded position with a slowly wandering hand (AR(1), 1.2 mm at noise 1)."""
        self._drift = 0.8 * self._drift + 0.6 * 0.0012 * self.noise * self._rng.normal(3)
        return self._command + self._drift

    def _rotation6d(self) -> Tensor:
        return matrix_to_rot6d(self._command_rotation)

    def _gripper(self) -> Tensor:
        return torch.where(self.phase >= Phase.CLOSE, 1.0, -1.0).unsqueeze(-1)
