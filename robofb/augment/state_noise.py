"""Noise on the poses of a state, in metres and radians, before normalisation (JUICER, arXiv 2404.03729)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robofb.augment.poses import pose_key, poses_by_body
from robofb.errors import UserError, check_at_least
from robofb.geometry import matrix_to_rot6d, rotvec_to_matrix
from robofb.store.element_names import DERIVED
from robofb.types import Batch, EnvSpec

Complete = Callable[[Tensor], Tensor]
"""Computes what follows from the poses of states (..., D) anew and returns the whole states."""


@dataclass(frozen=True)
class StateNoise:
    """How far states are moved.

    Attributes:
        position_m: standard deviation of every body's shift, along each axis.
        rotation_rad: standard deviation of every body's angle of turn, about an axis drawn uniformly.
        share: of the samples.
    """

    position_m: float = 0.01
    rotation_rad: float = 0.1
    share: float = 0.2

    def __post_init__(self) -> None:
        check_at_least(self, 0, "position_m", "rotation_rad", "share")
        if self.share > 1:
            raise UserError(f"share={self.share}: must be at most 1")


class StateNoiseTransform:
    """Move the end-effector and every part of some samples, each by a draw of its own.

    A sample's history moves as one: a body is shifted in the base frame and turned in its own, so its
    velocities there, linear and angular, stay what they are. The action stays too: it leads back.

    Args:
        spec: names the poses.
        noise: how far.
        complete: of the task; needed where elements are functions of poses ("_tanh_" in their name).

    Raises:
        UserError: no poses, or functions of them without `complete`.
    """

    def __init__(self, spec: EnvSpec, noise: StateNoise, complete: Complete | None = None) -> None:
        self.noise, self.complete = noise, complete
        self.key = pose_key(spec)
        names = spec.obs[self.key].names
        self.poses = poses_by_body(spec.obs[self.key])
        derived = [name for name in names if DERIVED in name]
        if derived and complete is None:
            raise UserError(
                f"state_noise must reach '{derived[0]}', which follows from poses, and the task does not say "
                "how: give task=..., whose class has a method 'complete'"
            )

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the batch with noise on a share of its samples; nothing given is changed.

        Draws come from `generator` alone. Without any noise the samples are bit for bit the same.
        """
        noise = self.noise
        state = batch.obs.get(self.key)
        if state is None or not (noise.position_m or noise.rotation_rad) or not noise.share:
            return batch
        size, device = len(state), state.device
        chosen = torch.rand(size, generator=generator, device=device) < noise.share
        moved = state.clone()
        for pose in self.poses.values():
            shift = noise.position_m * torch.randn(size, 1, 3, generator=generator, device=device)
            moved[..., pose.position] += shift
            turn = self._turns(size, generator, device)
            if pose.rotation:
                moved[..., pose.rotation] = matrix_to_rot6d(pose.matrix(moved) @ turn)
        moved = moved if self.complete is None else self.complete(moved)
        noisy = torch.where(chosen[:, None, None], moved, state)
        return batch._replace(obs={**batch.obs, self.key: noisy})

    def _turns(self, size: int, generator: torch.Generator, device: torch.device) -> Tensor:
        """Return random rotations (B, 1, 3, 3)."""
        axis = torch.randn(size, 3, generator=generator, device=device)
        axis = axis / axis.norm(dim=-1, keepdim=True).clamp_min(1e-9)
        angle_rad = self.noise.rotation_rad * torch.randn(size, 1, generator=generator, device=device)
        return rotvec_to_matrix(angle_rad * axis).unsqueeze(1)
