"""The half cheetah of MuJoCo's benchmarks, which runs in a plane: the model that Gymnasium brings along."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import mujoco
import torch
from torch import Tensor

from robofb.interfaces import Engine
from robofb.rng import EpisodeRng
from robofb.types import ArraySpec

PHYSICS_DT_S, NUM_SUBSTEPS = 0.01, 5
CONTROL_DT_S = PHYSICS_DT_S * NUM_SUBSTEPS
JOINTS = ("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot")
_ROOTS = ("root_x", "root_z", "root_pitch")
STATE_NAMES = (
    *(f"{name}_pos" for name in (*_ROOTS[1:], *JOINTS)),
    *(f"{name}_vel" for name in (*_ROOTS, *JOINTS)),
)
STATE_UNIT = "m, rad, m/s, rad/s by name"
SPEED = STATE_NAMES.index("root_x_vel")
"""Where forward speed [m/s] stands among `STATE_NAMES`."""

ACTION_SPEC = ArraySpec(
    (len(JOINTS),),
    unit="1: of each motor's gear",
    low=(-1.0,) * len(JOINTS),
    high=(1.0,) * len(JOINTS),
    names=tuple(f"{joint}_torque" for joint in JOINTS),
)
START_POS, START_VEL = 0.1, 0.1  # how far starts differ: half-range [m, rad], deviation [m/s, rad/s]


def make_cheetah(num_userdata: int) -> mujoco.MjSpec:
    """Return the scene. Elliptic cones: with pyramidal ones MuJoCo and MuJoCo Warp differ in contact."""
    assets = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
    spec = mujoco.MjSpec.from_file(str(assets / "half_cheetah.xml"))
    spec.nuserdata = num_userdata
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    return spec


def place_cheetah(engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
    """Let cheetahs stand in the worlds `ids` (n,), each a little bent and pushed.

    Args:
        rng: n rows.
    """
    qpos, qvel = engine.field("qpos"), engine.field("qvel")
    qpos[ids] += (START_POS * (2 * rng.uniform(3 + len(JOINTS)) - 1)).to(qpos)
    qvel[ids] = (START_VEL * rng.normal(3 + len(JOINTS))).to(qvel)


def cheetah_state(engine: Engine) -> Tensor:
    """Return (B, 17) float32, by `STATE_NAMES`: all but how far it has come."""
    return torch.cat([engine.field("qpos")[:, 1:], engine.field("qvel")], -1).float()
