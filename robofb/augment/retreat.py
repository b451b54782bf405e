"""Ways back from a bottleneck: up, out along a ray of a cone, then a turn (JUICER, arXiv 2404.03729)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robofb.geometry import rotvec_to_matrix
from robofb.rng import EpisodeRng

LIFT_M = 0.02
MOST_LIFTS = 9
DISTANCE_M = (0.2, 0.5)
CONE_RAD = (math.radians(5), math.radians(80))
STEP_M = 0.02
TURN_STEP_RAD = math.radians(7.5)
MOST_TURN_RAD = math.radians(45)


@dataclass(frozen=True)
class Retreat:
    """One way back.

    Attributes:
        lifts: steps of 2 cm straight up, 1 to 9.
        distance_m: length of the ray after them.
        polar_rad, azimuth_rad: the ray's direction: its angle to the vertical, and its heading.
        turn_rad: (3,) axis times angle of the turn in the end, in the base frame.
    """

    lifts: int
    distance_m: float
    polar_rad: float
    azimuth_rad: float
    turn_rad: tuple[float, ...]

    def waypoints(
        self, position: Tensor, rotation: Tensor, low_m: Sequence[float], high_m: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """Return the poses to command, one a control step, from a pose on.

        Lifts and ray end where the next step would leave the workspace.

        Args:
            position: (3,) of the end-effector [m].
            rotation: (3, 3) of it.
            low_m, high_m: corners of the workspace.

        Returns:
            Positions (N, 3) and rotations (N, 3, 3), float64; at least one, that of the turn.
        """
        start, turned = position.double(), rotation.double()
        path = self._lifted(start)
        outside = (path < torch.tensor(low_m, dtype=torch.float64)) | (
            path > torch.tensor(high_m, dtype=torch.float64)
        )
        beyond = outside.any(-1).nonzero().flatten()
        path = path[: int(beyond[0])] if len(beyond) else path
        turn = torch.tensor(self.turn_rad, dtype=torch.float64)
        num_turns = max(1, math.ceil(float(turn.norm()) / TURN_STEP_RAD))
        shares = torch.arange(1, num_turns + 1, dtype=torch.float64) / num_turns
        turns = rotvec_to_matrix(shares[:, None] * turn) @ turned  # (turns, 3, 3)
        last = path[-1] if len(path) else start
        return (
            torch.cat([path, last.expand(num_turns, 3)]),
            torch.cat([turned.expand(len(path), 3, 3), turns]),
        )

    def _lifted(self, start: Tensor) -> Tensor:
        """Return the positions (N, 3) of lifts and ray."""
        up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
        ray = torch.tensor(
            [
                math.sin(self.polar_rad) * math.cos(self.azimuth_rad),
                math.sin(self.polar_rad) * math.sin(self.azimuth_rad),
                math.cos(self.polar_rad),
            ],
            dtype=torch.float64,
        )
        lifts = torch.arange(1, self.lifts + 1, dtype=torch.float64)[:, None] * LIFT_M * up
        count = math.floor(self.distance_m / STEP_M)
        out = torch.arange(1, count + 1, dtype=torch.float64)[:, None] * STEP_M * ray
        return start + torch.cat([lifts, self.lifts * LIFT_M * up + out])


def draw_retreat(rng: EpisodeRng, distance_m: Sequence[float] = DISTANCE_M) -> Retreat:
    """Draw one way back from a generator of one row.

    Args:
        rng: advances by fixed counts, so that a draw depends on its seed alone.
        distance_m: least and greatest length of the ray.
    """
    lifts, distance, polar, azimuth, angle = rng.uniform(5)[0].tolist()
    axis = rng.normal(3)[0].double()
    axis = axis / axis.norm().clamp_min(1e-9)
    low_m, high_m = distance_m
    return Retreat(
        lifts=1 + int(lifts * MOST_LIFTS),
        distance_m=low_m + distance * (high_m - low_m),
        polar_rad=CONE_RAD[0] + polar * (CONE_RAD[1] - CONE_RAD[0]),
        azimuth_rad=2 * math.pi * azimuth,
        turn_rad=tuple((axis * angle * MOST_TURN_RAD).tolist()),
    )
