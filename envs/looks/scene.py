"""Light and sky of every scene; table and fixed cameras of the furniture scenes."""

from __future__ import annotations

import mujoco
import torch

from robofb.geometry import matrix_to_quat
from robofb.sim.render import FIGURE_CAMERA


def add_scene(spec: mujoco.MjSpec) -> None:
    """Add light, sky, the looks of the table, and the cameras `front` and `figure`."""
    add_sky(spec)
    spec.add_material(name="table", rgba=[0.74, 0.75, 0.76, 1], specular=0.15, shininess=0.2)
    add_camera(spec, "front", eye=(1.05, -0.30, 0.42), target=(0.44, 0.01, 0.09), fovy=40)
    add_camera(spec, FIGURE_CAMERA, eye=(1.45, -0.95, 0.85), target=(0.30, 0.0, 0.24), fovy=34)


def add_sky(spec: mujoco.MjSpec) -> None:
    """Add lights and the sky.

    Shadows and anti-aliasing are off and curves coarse: in software rendering they cost many times the
    frame. Pictures for papers ask for them, see `benchmarks/task_pictures.py`.
    """
    quality = spec.visual.quality
    quality.numslices, quality.numstacks, quality.numquads = 20, 10, 2
    quality.shadowsize = quality.offsamples = 0
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 640, 480
    spec.visual.headlight.ambient = [0.32, 0.32, 0.34]
    spec.visual.headlight.diffuse = [0.22, 0.22, 0.22]
    spec.visual.headlight.specular = [0.05, 0.05, 0.05]
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.96, 0.97, 0.98],
        rgb2=[0.70, 0.75, 0.81],
        width=64,
        height=384,
    )
    _add_lights(spec)


def _add_lights(spec: mujoco.MjSpec) -> None:
    """Add a warm key light from the front and above, which casts shadows, and a cool fill from the side."""
    spec.worldbody.add_light(
        name="key",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[1.0, -0.9, 2.0],
        dir=[-0.28, 0.45, -0.85],
        diffuse=[0.52, 0.50, 0.47],
        specular=[0.35, 0.35, 0.33],
    )
    spec.worldbody.add_light(
        name="fill",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[-0.4, 1.4, 1.5],
        dir=[0.4, -0.7, -0.6],
        diffuse=[0.17, 0.18, 0.21],
        specular=[0.05, 0.05, 0.05],
        castshadow=False,
    )


def add_camera(
    spec: mujoco.MjSpec, name: str, eye: tuple[float, ...], target: tuple[float, ...], fovy: float
) -> None:
    """Add a camera at `eye` that looks at `target` [m], z up, with a height of view `fovy` [deg]."""
    forward = torch.tensor(target, dtype=torch.float64) - torch.tensor(eye, dtype=torch.float64)
    forward = forward / forward.norm()
    right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    right = right / right.norm()
    up = torch.linalg.cross(right, forward)
    quat = matrix_to_quat(torch.stack([right, up, -forward], -1))
    spec.worldbody.add_camera(name=name, pos=eye, quat=quat.tolist(), fovy=fovy)
