"""A half cheetah that shall run at a speed that nobody tells it (BOReL, arXiv 2008.02598)."""

from __future__ import annotations

import warnings

import mujoco
import torch
from torch import Tensor

from robofb.envs.looks.scene import add_camera
from robofb.envs.robots import half_cheetah
from robofb.errors import UserError
from robofb.interfaces import Engine
from robofb.rng import EpisodeRng
from robofb.sim.meta_sim_task import MetaSimTask
from robofb.types import PRIVILEGED, ArraySpec, EnvSpec, Obs, Score

MAX_SPEED_M_S = 3.0
EFFORT_COST = 0.05
NEAR_M_S = 0.3  # within which the speed is right


class HalfCheetahVel(MetaSimTask):
    """Run at the task's speed v*: a step pays -|v - v*| - 0.05 |action|^2.

    v is the root's forward speed after the step [m/s], which is seen, so that a step says what it would have
    paid in any task. Only the time limit ends an episode. Success is |v - v*| < 0.3 m/s in its last step.

    Observations: "state" (17,): all joints' places but how far it has come, and all speeds. `PRIVILEGED`
    (1,): v*.

    Args:
        max_steps: of an episode [control steps].
    """

    num_substeps = half_cheetah.NUM_SUBSTEPS
    start_distribution = "standing, joints within 0.1 rad, speeds of deviation 0.1"
    moves_alike = True

    def __init__(self, max_steps: int = 200) -> None:
        if max_steps < 1:
            raise UserError(f"max_steps={max_steps}: needs at least 1")
        self.meta = {"robot": "half_cheetah", "frame": "world"}
        self.params = ArraySpec((1,), unit="m/s", names=("wanted_speed",))
        names = half_cheetah.STATE_NAMES
        self.spec = EnvSpec(
            task="half_cheetah_vel",
            obs={
                "state": ArraySpec((len(names),), unit=half_cheetah.STATE_UNIT, names=names),
                PRIVILEGED: self.params,
            },
            action=half_cheetah.ACTION_SPEC,
            control_dt=half_cheetah.CONTROL_DT_S,
            max_steps=max_steps,
            stages=("run",),
        )

    def draw_params(self, rng: EpisodeRng) -> Tensor:
        """Draw a speed of 0 to 3 m/s, each as likely."""
        return MAX_SPEED_M_S * rng.uniform(1)

    def build(self) -> mujoco.MjModel:
        """Compile the scene."""
        spec = half_cheetah.make_cheetah(num_userdata=1)
        add_camera(spec, "front", eye=(1.5, -6.0, 1.5), target=(1.5, 0.0, 0.5), fovy=45)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*settotalmass")  # how Gymnasium's file says its mass
            return spec.compile()

    def reset(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Let cheetahs stand."""
        engine.reset(ids)
        self.begin_tasks(engine, ids, rng)
        half_cheetah.place_cheetah(engine, ids, rng)
        engine.forward(ids)

    def apply(self, engine: Engine, action: Tensor) -> None:
        """Set the torques (B, 6) for one control step."""
        control = engine.field("ctrl")
        control[:] = action.to(control).clamp(-1.0, 1.0)

    def observe(self, engine: Engine) -> Obs:
        """Return {"state": (B, 17) float32, PRIVILEGED: (B, 1) float32}."""
        return {"state": half_cheetah.cheetah_state(engine), PRIVILEGED: self.tasks(engine)}

    def relabel(self, params: Tensor, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return what speeds (..., 1) pay for steps of actions (..., 6) that end in states (..., 17)."""
        off = (next_obs[..., half_cheetah.SPEED] - params[..., 0]).abs()
        return -off - EFFORT_COST * (action.clamp(-1.0, 1.0) ** 2).sum(-1)

    def score(self, engine: Engine) -> Score:
        """Judge the speed and what the motors did."""
        state, wanted = half_cheetah.cheetah_state(engine), self.tasks(engine)
        off = (state[:, half_cheetah.SPEED] - wanted[:, 0]).abs()
        near, never = off < NEAR_M_S, torch.zeros_like(off, dtype=torch.bool)
        return Score(
            achieved=near.float(),
            success=near,
            failure=never,
            stage=near.long(),
            metrics={},
            reward=self.relabel(wanted, state, engine.field("ctrl").float(), state),
            ended=never,
        )
