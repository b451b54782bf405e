"""An ant on its way to a place in the dark, where it sees badly where it is; it is light off the way."""

from __future__ import annotations

import mujoco
import torch
from torch import Tensor

from robofb.envs.looks.palette import SHELL, STONE, dress
from robofb.envs.looks.scene import add_camera, add_sky
from robofb.envs.robots import ant
from robofb.errors import UserError
from robofb.interfaces import Engine
from robofb.rng import EpisodeRng
from robofb.types import PRIVILEGED, ArraySpec, EnvSpec, Obs, Score

GOAL_XY_M = (-1.0, 1.0)
START_LOW_M, START_HIGH_M = -2.0, 0.0  # of x and y: it starts in the dark
DISTANCE_COST, EFFORT_COST = 1.5, 0.1  # for each metre, and for each squared action
NEAR_L1_M, NEAR_BONUS = 0.1, 1.0
PLACE_NAMES = tuple(f"torso_pos_w_{axis}" for axis in "xy")
STATE_NAMES = (*(f"torso_pos_reading_w_{axis}" for axis in "xy"), *ant.STATE_NAMES)
_DARK, _LIGHT, _GOAL = (0.20, 0.22, 0.27, 1.0), (0.86, 0.87, 0.88, 1.0), (0.20, 0.70, 0.35, 1.0)
_TILE_M = 2.5  # half of a side of the floor that is shown dark or light


class LightDarkAnt:
    """Walk to `GOAL_XY_M` and stay; TGRL's Light-Dark Ant (arXiv 2307.03186) by its definition.

    A control step pays -1.5 d - 0.1 |action|^2, d the L1 distance to the goal [m], and 1 more where d < 0.1.
    Nothing ends an episode but its time limit: with rewards below 0, who falls would else be better off.
    Success is to be within d < 0.1 in the last step.

    Where x < 0 it is dark: the reading of x and of y is off by independent U(-|x|, |x|), drawn anew for every
    control step from the episode's own stream. The draws are kept in the simulator's userdata.

    Observations: "state" (29,): reading of the torso's place, then what the ant feels of itself.
    `PRIVILEGED` (2,): where the torso is.

    Args:
        max_steps: actions before truncation.

    Raises:
        UserError: `max_steps` is below 1.
    """

    num_substeps = ant.NUM_SUBSTEPS
    perturbation = 1.0  # the reading is disturbed in every control step

    def __init__(self, max_steps: int = 100) -> None:
        if max_steps < 1:
            raise UserError(f"max_steps={max_steps}: needs at least 1")
        self.meta = {"robot": "ant", "frame": "world"}
        self.spec = EnvSpec(
            task="light_dark_ant",
            obs={
                "state": ArraySpec((len(STATE_NAMES),), unit=ant.STATE_UNIT, names=STATE_NAMES),
                PRIVILEGED: ArraySpec((2,), unit="m", names=PLACE_NAMES),
            },
            action=ant.ACTION_SPEC,
            control_dt=ant.CONTROL_DT_S,
            max_steps=max_steps,
            stages=("reach",),
        )

    def to(self, device: torch.device) -> LightDarkAnt:
        """Return itself: it holds no tensors."""
        return self

    def build(self) -> mujoco.MjModel:
        """Compile the scene: the ant on a floor that looks dark where it is."""
        spec = mujoco.MjSpec()
        spec.nuserdata = 2
        ant.set_physics(spec)
        add_sky(spec)
        ant.add_floor(spec).rgba = _LIGHT
        ant.add_ant(spec, torso_rgba=STONE, leg_rgba=SHELL)
        _add_looks(spec)
        dress(spec)
        add_camera(spec, "front", eye=(-0.8, -6.0, 5.2), target=(-0.6, -0.4, 0.0), fovy=42)
        return spec.compile()

    def reset(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Let ants stand somewhere in the dark, and draw how wrong their first reading is."""
        engine.reset(ids)
        place = START_LOW_M + (START_HIGH_M - START_LOW_M) * rng.uniform(2).double()
        ant.place_ant(engine, ids, place, rng)
        noise = engine.field("userdata")
        noise[ids] = (2 * rng.uniform(2) - 1).to(noise.dtype)
        engine.forward(ids)

    def perturb(self, engine: Engine, rng: EpisodeRng) -> None:
        """Draw how wrong the next reading is, as shares of |x|."""
        noise = engine.field("userdata")
        noise[:] = (2 * rng.uniform(2) - 1).to(noise.dtype)

    def apply(self, engine: Engine, action: Tensor) -> None:
        """Set the torques (B, 8) for one control step."""
        ant.turn_motors(engine, action)

    def observe(self, engine: Engine) -> Obs:
        """Return {"state": (B, 29) float32, PRIVILEGED: (B, 2) float32}."""
        place = ant.ant_place(engine)
        reach = (-place[:, :1]).clamp_min(0.0)  # |x| in the dark, 0 in the light
        reading = place + reach * engine.field("userdata").double()
        state = torch.cat([reading, ant.ant_state(engine).double()], -1)
        return {"state": state.float(), PRIVILEGED: place.float()}

    def score(self, engine: Engine) -> Score:
        """Judge how far the goal is and what the motors did."""
        distance = l1_to_goal(ant.ant_place(engine))
        near = distance < NEAR_L1_M
        effort = (engine.field("ctrl").double() ** 2).sum(-1)
        never = torch.zeros_like(near)
        return Score(
            achieved=near.float(),
            success=near,
            failure=never,
            stage=near.long(),
            metrics={"fell": ant.fallen(engine)},
            reward=pay(distance, effort).float(),
            ended=never,
        )


def l1_to_goal(place: Tensor) -> Tensor:
    """Return the L1 distance (B,) [m] of places (B, 2) [m] to the goal."""
    x, y = GOAL_XY_M
    return (place[:, 0] - x).abs() + (place[:, 1] - y).abs()


def pay(distance: Tensor, effort: Tensor) -> Tensor:
    """Return what a control step earns, (B,), of L1 distances (B,) [m] and squared actions (B,)."""
    return -DISTANCE_COST * distance + NEAR_BONUS * (distance < NEAR_L1_M) - EFFORT_COST * effort


def _add_looks(spec: mujoco.MjSpec) -> None:
    """Show the dark floor and the goal: thin plates that nothing touches."""
    unfelt = {"contype": 0, "conaffinity": 0, "mass": 0}
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[-_TILE_M, 0, 0.001],
        size=[_TILE_M, 2 * _TILE_M, 0.001],
        rgba=_DARK,
        **unfelt,
    )
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        pos=[*GOAL_XY_M, 0.004],
        size=[0.15, 0.002, 0],
        rgba=_GOAL,
        **unfelt,
    )
