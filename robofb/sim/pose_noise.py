"""Noise on the poses of parts that an environment shows, as a camera would make it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.geometry import matrix_to_rot6d, rotvec_to_matrix
from robofb.rng import POSE_NOISE_STREAM, EpisodeRng, derive_seeds
from robofb.store.element_names import DERIVED, EE, find_poses
from robofb.types import EnvSpec, Obs

Complete = Callable[[Tensor], Tensor]
"""Computes what follows from the poses of states (B, D) anew and returns the whole states."""


@dataclass(frozen=True)
class PoseNoise:
    """Standard deviations of independent noise at every observation; the robot's own pose has none.

    Attributes:
        position_m: along each axis.
        rotation_rad: of the angle of turn, about an axis drawn uniformly in the part's frame.

    Raises:
        UserError: one is negative or not finite; it is called as tasks call it.
    """

    position_m: float = 0.0
    rotation_rad: float = 0.0

    def __post_init__(self) -> None:
        for key, value in (("pose_noise_m", self.position_m), ("pose_noise_rad", self.rotation_rad)):
            if not 0 <= value < math.inf:
                raise UserError(f"{key}={value}: needs at least 0")

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self.position_m > 0 or self.rotation_rad > 0

    def check(self, spec: EnvSpec, complete: Complete | None) -> None:
        """Raise UserError where a task shows functions of poses and does not say how they follow."""
        names = [name for array in spec.obs.values() for name in array.names if DERIVED in name]
        if names and complete is None:
            raise UserError(
                f"pose noise must reach '{names[0]}', but task {spec.task} has no method 'complete'"
            )

    def add(self, obs: Obs, spec: EnvSpec, complete: Complete | None, seeds: Tensor, elapsed: Tensor) -> Obs:
        """Return observations with noise: a draw for each part of each env, from its episode and time.

        Args:
            seeds: (B,) int64 of the episodes.
            elapsed: (B,) int64 control steps since their start.
        """
        rng = EpisodeRng(derive_seeds(derive_seeds(seeds, POSE_NOISE_STREAM), elapsed))
        noisy = dict(obs)
        for key, array in spec.obs.items():
            poses = [pose for pose in find_poses(array) if pose.body != EE]
            if not poses:
                continue
            values = obs[key].clone()
            for pose in poses:
                values[:, pose.position] += self.position_m * rng.normal(3)
                axis, size = rng.normal(3), rng.normal(1)
                turn = self.rotation_rad * size * torch.nn.functional.normalize(axis, dim=-1)
                if pose.rotation:
                    turned = pose.matrix(values) @ rotvec_to_matrix(turn)
                    values[:, pose.rotation] = matrix_to_rot6d(turned)
            noisy[key] = values if complete is None else complete(values)
        return noisy
