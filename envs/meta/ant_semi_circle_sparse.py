"""An ant that seeks a goal on a half circle and is paid only near it (BOReL, arXiv 2008.02598)."""

from __future__ import annotations

import math

import mujoco
import torch
from torch import Tensor

from robofb.envs.looks.palette import SHELL, STONE, dress
from robofb.envs.looks.scene import add_camera, add_sky
from robofb.envs.robots import ant
from robofb.errors import UserError
from robofb.interfaces import Engine
from robofb.rng import EpisodeRng
from robofb.sim.meta_sim_task import MetaSimTask
from robofb.types import PRIVILEGED, ArraySpec, EnvSpec, Obs, Score

RADIUS_M, REACH_M = 1.0, 0.2
EFFORT_COST = 0.1
STATE_NAMES = (*(f"torso_pos_w_{axis}" for axis in "xy"), *ant.STATE_NAMES)
_FLOOR = (0.86, 0.87, 0.88, 1.0)


class AntSemiCircleSparse(MetaSimTask):
    """Be within 0.2 m of a goal on the unit half circle y >= 0: 1 for each step that ends there, else 0.

    Less 0.1 |action|^2 in any case. The ant starts in the circle's centre; only the time limit ends an
    episode. Success is to be there in its last step.

    Observations: "state" (29,): where the torso is [m], then what the ant feels of itself. `PRIVILEGED` (2,):
    the goal.

    Args:
        max_steps: of an episode [control steps].
        dense: pay the L1 distance to the goal [m] instead, negative, as a help for agents that learn one
            task alone. `relabel`, and with it the logs, stay sparse.
    """

    num_substeps = ant.NUM_SUBSTEPS
    start_distribution = "standing at (0, 0) m, joints within 0.1 rad, speeds of deviation 0.1"
    moves_alike = True

    def __init__(self, max_steps: int = 200, dense: bool = False) -> None:
        if max_steps < 1:
            raise UserError(f"max_steps={max_steps}: needs at least 1")
        self.dense = dense
        self.meta = {"robot": "ant", "frame": "world"}
        self.params = ArraySpec((2,), unit="m", names=("goal_pos_w_x", "goal_pos_w_y"))
        self.spec = EnvSpec(
            task="ant_semi_circle_sparse",
            obs={
                "state": ArraySpec((len(STATE_NAMES),), unit=ant.STATE_UNIT, names=STATE_NAMES),
                PRIVILEGED: self.params,
            },
            action=ant.ACTION_SPEC,
            control_dt=ant.CONTROL_DT_S,
            max_steps=max_steps,
            stages=("reach",),
        )

    def draw_params(self, rng: EpisodeRng) -> Tensor:
        """Draw a goal on the half circle, each angle as likely."""
        angle = math.pi * rng.uniform()
        return RADIUS_M * torch.stack([angle.cos(), angle.sin()], -1)

    def build(self) -> mujoco.MjModel:
        """Compile the scene: the ant on a floor."""
        spec = mujoco.MjSpec()
        spec.nuserdata = 2
        ant.set_physics(spec)
        add_sky(spec)
        ant.add_floor(spec).rgba = _FLOOR
        ant.add_ant(spec, torso_rgba=STONE, leg_rgba=SHELL)
        dress(spec)
        add_camera(spec, "front", eye=(0.0, -4.5, 4.5), target=(0.0, 0.4, 0.0), fovy=42)
        return spec.compile()

    def reset(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Let ants stand in the centre."""
        engine.reset(ids)
        self.begin_tasks(engine, ids, rng)
        ant.place_ant(engine, ids, torch.zeros(len(ids), 2, dtype=torch.float64, device=ids.device), rng)
        engine.forward(ids)

    def apply(self, engine: Engine, action: Tensor) -> None:
        """Set the torques (B, 8) for one control step."""
        ant.turn_motors(engine, action)

    def observe(self, engine: Engine) -> Obs:
        """Return {"state": (B, 29) float32, PRIVILEGED: (B, 2) float32}."""
        return {"state": self._state(engine), PRIVILEGED: self.tasks(engine)}

    def relabel(self, params: Tensor, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return what goals (..., 2) pay for steps of actions (..., 8) that end in states (..., 29)."""
        near = (next_obs[..., :2] - params).norm(dim=-1) <= REACH_M
        return near.float() - EFFORT_COST * (action.clamp(-1.0, 1.0) ** 2).sum(-1)

    def score(self, engine: Engine) -> Score:
        """Judge where the torso is and what the motors did."""
        state, goal, control = self._state(engine), self.tasks(engine), engine.field("ctrl").float()
        away = state[:, :2] - goal
        near = away.norm(dim=-1) <= REACH_M
        never = torch.zeros_like(near)
        effort = EFFORT_COST * (control**2).sum(-1)
        sparse = self.relabel(goal, state, control, state)
        return Score(
            achieved=near.float(),
            success=near,
            failure=never,
            stage=near.long(),
            metrics={"fell": ant.fallen(engine)},
            reward=-away.abs().sum(-1) - effort if self.dense else sparse,
            ended=never,
        )

    def _state(self, engine: Engine) -> Tensor:
        return torch.cat([ant.ant_place(engine), ant.ant_state(engine).double()], -1).float()
