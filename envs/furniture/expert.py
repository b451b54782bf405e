"""A scripted expert for assembly that hesitates and errs like a person at a teleoperation device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robofb.envs.furniture.expert_memory import ExpertMemory, shortened, within_lead
from robofb.envs.furniture.moves import Move, Pose, Scene
from robofb.geometry import matrix_to_rot6d, matrix_to_rotvec, rot6d_to_matrix, rotvec_to_matrix
from robofb.rng import EXPERT_STREAM, EpisodeRng, derive_seeds
from robofb.types import Obs

CONTROL_DT_S = 0.1
GRASP_ERROR_M = (0.002, 0.0, 0.002)  # across the pads' closing, never along it; at noise 1
AIM_ERROR_M = 0.0008
MOST_DEVIATIONS = 2.0  # of a single error
DRIFT_M, DRIFT_KEPT = 0.0012, 0.8  # of the hand, AR(1)
HESITATION_CHANCE, LONGEST_HESITATION = 0.35, 3  # between moves; control steps
SLOWEST = 0.7  # share of the usual speed


class PlanExpert(ExpertMemory):
    """Follow a plan of moves in every environment; an `interfaces.Agent` that reads the state observation.

    Args:
        num_envs: B.
        plan: the moves, one after the other; the last one is repeated.
        state_names: of the observation's values.
        parts: names of the parts whose poses it shows.
        noise: scale of all human-like errors; 0 acts perfectly, 1 like a practised person.
    """

    MEMORY = (
        *("phase", "_steps", "_pause", "_fresh", "_speed", "_gripper", "_wander", "_drift"),
        *("_position", "_rotation", "_start_position", "_start_rotation", "_grasp_error", "_aim_error"),
    )

    def __init__(
        self,
        num_envs: int,
        plan: Sequence[Move],
        state_names: Sequence[str],
        parts: Sequence[str],
        noise: float,
    ) -> None:
        self.num_envs, self.plan, self.noise = num_envs, tuple(plan), noise
        self._place = {name: _pose_slices(state_names, name) for name in ("ee", *parts)}
        self._rng = EpisodeRng(torch.zeros(num_envs, dtype=torch.int64))
        self.phase = torch.zeros(num_envs, dtype=torch.int64)
        self._steps, self._pause = self.phase.clone(), self.phase.clone()
        self._fresh = torch.ones(num_envs, dtype=torch.bool)
        self._position, self._rotation = torch.zeros(num_envs, 3), torch.eye(3).repeat(num_envs, 1, 1)
        self._start_position, self._start_rotation = self._position.clone(), self._rotation.clone()
        self._drift = torch.zeros(num_envs, 3)
        self._grasp_error, self._aim_error = torch.zeros(num_envs, 3), torch.zeros(num_envs, 2)
        self._speed, self._gripper = torch.ones(num_envs), torch.full((num_envs,), -1.0)
        self._wander = torch.ones(num_envs)

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        """Start anew in the envs of `mask` (B,), with errors drawn from `seeds` (B,)."""
        rows = mask.nonzero().squeeze(-1)
        if not len(rows):
            return
        self._rng.reseed(rows, derive_seeds(seeds[rows], EXPERT_STREAM))
        for tensor in (self.phase, self._steps, self._pause, self._drift):
            tensor[rows] = 0
        self._fresh[rows], self._gripper[rows] = True, -1.0
        slow = (1.0 - SLOWEST) * min(self.noise, 1.0)
        self._speed[rows] = 1.0 - slow * self._rng.select(rows).uniform(1)[:, 0]
        self._err_anew(rows)

    def next(self, obs: Obs) -> Tensor:
        """Return actions (B, 10) for states (B, D)."""
        poses = {name: self._pose(obs, name) for name in self._place}
        self._begin(poses["ee"])
        present = self.phase.clone()  # a row that goes on to its next move waits for the next step
        for phase in present.unique().tolist():
            rows = (present == phase).nonzero().squeeze(-1)
            self._follow(self.plan[phase], rows, poses)
        draw = self._rng.normal(3)
        scale = (1 - DRIFT_KEPT**2) ** 0.5 * DRIFT_M * self.noise * self._wander
        self._drift = DRIFT_KEPT * self._drift + scale.unsqueeze(-1) * draw
        turn = matrix_to_rot6d(self._rotation)
        return torch.cat([self._position + self._drift, turn, self._gripper.unsqueeze(-1)], -1)

    def catch_up(self, obs: Obs) -> None:
        """Wait for the hand where it is led elsewhere: neither the command nor a move's time runs ahead.

        A part that others dropped is fetched again only where the plan checks for it.
        """
        command, waits = within_lead(Pose(self._position, self._rotation), self._pose(obs, "ee"))
        self._position, self._rotation = command.position, command.rotation
        self._steps = torch.where(waits, (self._steps - 1).clamp_min(0), self._steps)

    def _pose(self, obs: Obs, body: str) -> Pose:
        position, rotation = self._place[body]
        return Pose(obs["state"][:, position], rot6d_to_matrix(obs["state"][:, rotation]))

    def _begin(self, tcp: Pose) -> None:
        """Start commanding from where the arm is, in fresh envs."""
        fresh = self._fresh
        self._position[fresh], self._rotation[fresh] = tcp.position[fresh], tcp.rotation[fresh]
        self._start_position[fresh], self._start_rotation[fresh] = tcp.position[fresh], tcp.rotation[fresh]
        self._fresh = torch.zeros_like(fresh)

    def _follow(self, move: Move, rows: Tensor, poses: dict[str, Pose]) -> None:
        """Command one step of a move in the envs `rows`, and go on where it is done."""
        scene = self._scene(rows, poses)
        target = move.target(scene)
        self._gripper[rows], self._wander[rows] = move.gripper, move.wander
        going = (self._pause[rows] == 0).unsqueeze(-1)
        limit = (move.speed_m_s * CONTROL_DT_S * self._speed[rows]).unsqueeze(-1)
        delta = shortened(target.pose.position - scene.command.position, limit)
        self._position[rows] = scene.command.position + delta * going
        turn = matrix_to_rotvec(target.pose.rotation @ scene.command.rotation.transpose(1, 2))
        turn = shortened(turn, torch.full_like(limit, move.turn_rad_s * CONTROL_DT_S)) * going
        self._rotation[rows] = rotvec_to_matrix(turn) @ scene.command.rotation
        self._advance(move, rows, scene, target.distance)

    def _scene(self, rows: Tensor, poses: dict[str, Pose]) -> Scene:
        seen = {name: Pose(pose.position[rows], pose.rotation[rows]) for name, pose in poses.items()}
        command = Pose(self._position[rows], self._rotation[rows])
        start = Pose(self._start_position[rows], self._start_rotation[rows])
        return Scene(seen.pop("ee"), command, start, seen, self._grasp_error[rows], self._aim_error[rows])

    def _advance(self, move: Move, rows: Tensor, scene: Scene, distance: Tensor) -> None:
        """Go on to the next move, or back, where this one is reached or its time is up."""
        steps = self._steps[rows]
        over = ((distance < move.tolerance_m) & (steps >= move.least)) | (steps >= move.most)
        good = torch.ones_like(over) if move.check is None else move.check(scene)
        phase = self.phase[rows]
        following = torch.where(good, (phase + 1).clamp_max(len(self.plan) - 1), phase - move.back)
        self.phase[rows] = torch.where(over, following, phase)
        self._steps[rows] = torch.where(over, 0, steps + 1)
        ended = rows[over]
        self._start_position[ended] = self._position[ended]
        self._start_rotation[ended] = self._rotation[ended]
        self._err_anew(rows[over & ~good])
        draw = self._rng.select(rows).uniform(2)
        hesitates = over & (draw[:, 0] < HESITATION_CHANCE * self.noise)
        length = 1 + (LONGEST_HESITATION * draw[:, 1]).long()
        self._pause[rows] = torch.where(hesitates, length, (self._pause[rows] - 1).clamp_min(0))

    def _err_anew(self, rows: Tensor) -> None:
        """Draw the hand's errors of grasping and aiming in the envs `rows`."""
        draw = self.noise * self._rng.select(rows).normal(5).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        self._grasp_error[rows] = torch.tensor(GRASP_ERROR_M) * draw[:, :3]
        self._aim_error[rows] = AIM_ERROR_M * draw[:, 3:]


def _pose_slices(state_names: Sequence[str], body: str) -> tuple[slice, slice]:
    """Return where a body's position and 6D rotation stand in the state."""
    at = list(state_names).index(f"{body}_pos_base_x")
    return slice(at, at + 3), slice(at + 3, at + 9)
