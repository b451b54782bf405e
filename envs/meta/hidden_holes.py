"""A peg and a hole somewhere else in every task, felt by wrench alone: search once, then insert directly."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robofb.envs.meta.felt import FeltFamily
from robofb.envs.teacher.hand import hand_names
from robofb.envs.teacher.hidden_hole import MAX_OFFSET_M, HiddenHole
from robofb.interfaces import Engine
from robofb.rng import EpisodeRng
from robofb.types import PRIVILEGED, ArraySpec, Score

ASIDE, HEIGHT = (hand_names("nominal_touch").index(f"ee_pos_nominal_touch_{axis}") for axis in "yz")
DISTANCE_COST_1_M = 5.0
IN_M = 0.009
"""How far below the block's face the hand has brought the peg when it is in, as it can nowhere else."""


class HiddenHoles(FeltFamily, HiddenHole):
    """Tasks of `HiddenHole` that differ in where the hole is: +1 when the peg is in, which ends an episode.

    The world moves as the hole lets it, and all tasks pay alike: for a hand 9 mm below where the tip would
    touch the block, which is seen, whatever the task. Observations: as `HiddenHole`'s.

    Args:
        max_steps: of an episode [control steps].
        teacher_height_m: see `HiddenHole`.
        dense: pay -0.05 for each cm that the hand is from the hole along y, and above being in it, and 1 when
            it is in, as a help for agents that learn one task alone. `relabel`, and with it the logs, stay
            sparse.
    """

    start_distribution = "tip above the block: x within 2 mm, y within 10 mm, z 6 to 10 mm"
    moves_alike = False

    def __init__(self, max_steps: int = 40, teacher_height_m: float = -0.002, dense: bool = False) -> None:
        super().__init__(max_steps, teacher_height_m=teacher_height_m)
        self.dense = dense
        self.params = ArraySpec((1,), unit="m", names=self.spec.obs[PRIVILEGED].names)
        self.spec = replace(self.spec, task="hidden_holes")

    def draw_params(self, rng: EpisodeRng) -> Tensor:
        """Draw how far along y the hole is off the middle, up to 10 mm, evenly."""
        return MAX_OFFSET_M * (2 * rng.uniform(1) - 1)

    def reset(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Put the block where the world's task, or this episode, hides it, and the tip above it."""
        super().reset(engine, ids, rng)
        if self.own_params is not None:
            mocap = engine.field("mocap_pos")
            mocap[ids, 0, 1] = (self._block_m[1] + self.own_params[ids, 0].double()).to(mocap.dtype)
            engine.forward(ids)

    def relabel(self, params: Tensor, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return what any hole pays for steps that end in states (..., 15)."""
        deep = next_obs[..., HEIGHT] <= -IN_M
        return deep.float().expand(torch.broadcast_shapes(deep.shape, params.shape[:-1]))

    def score(self, engine: Engine) -> Score:
        """Judge how deep the hand is; stages and metrics are `HiddenHole`'s."""
        found, seen = super().score(engine), self.observe(engine)
        state = seen["state"]
        success, before = state[:, HEIGHT] <= -IN_M, len(self.spec.stages) - 1
        reward = success.float()
        stage = torch.where(success, before + 1, found.stage.clamp(max=before))
        if self.dense:
            aside = (state[:, ASIDE] - seen[PRIVILEGED][:, 0]).abs()
            reward = reward - DISTANCE_COST_1_M * (aside + (state[:, HEIGHT] + IN_M).clamp_min(0.0))
        return found._replace(achieved=success.float(), success=success, stage=stage, reward=reward)
