"""Colours of what is seen, and the material that belongs to each: grain for wood, a shine for shells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np

Colour = tuple[float, float, float, float]

OAK, MAPLE, WALNUT, TEAK = (
    (0.71, 0.50, 0.29, 1.0),
    (0.88, 0.75, 0.56, 1.0),
    (0.34, 0.22, 0.13, 1.0),
    (0.52, 0.31, 0.17, 1.0),
)
SHELL, JOINT, FINGER, RUBBER = (
    (0.93, 0.935, 0.94, 1.0),
    (0.15, 0.16, 0.18, 1.0),
    (0.72, 0.74, 0.77, 1.0),
    (0.10, 0.10, 0.11, 1.0),
)
STONE, GLASS, BRASS, LINEN = (
    (0.22, 0.42, 0.47, 1.0),
    (0.97, 0.92, 0.74, 1.0),
    (0.78, 0.60, 0.30, 1.0),
    (0.80, 0.42, 0.30, 1.0),
)
STEEL, SLATE, GLAZE, BAR = (
    (0.74, 0.76, 0.79, 1.0),
    (0.27, 0.36, 0.50, 1.0),
    (0.20, 0.42, 0.62, 1.0),
    (0.35, 0.37, 0.40, 1.0),
)


@dataclass(frozen=True)
class Finish:
    """How a surface takes light: MuJoCo's numbers, 0 to 1."""

    specular: float
    shininess: float
    grained: bool = False


FINISHES: dict[str, tuple[Colour, Finish]] = {  # by the material's name
    "oak": (OAK, Finish(0.15, 0.3, True)),
    "maple": (MAPLE, Finish(0.15, 0.3, True)),
    "walnut": (WALNUT, Finish(0.15, 0.3, True)),
    "teak": (TEAK, Finish(0.15, 0.3, True)),
    "shell": (SHELL, Finish(0.5, 0.6)),
    "joint": (JOINT, Finish(0.4, 0.5)),
    "finger": (FINGER, Finish(0.5, 0.6)),
    "rubber": (RUBBER, Finish(0.05, 0.1)),
    "stone": (STONE, Finish(0.2, 0.3)),
    "glass": (GLASS, Finish(0.7, 0.9)),
    "brass": (BRASS, Finish(0.7, 0.7)),
    "linen": (LINEN, Finish(0.05, 0.1)),
    "steel": (STEEL, Finish(0.8, 0.8)),
    "slate": (SLATE, Finish(0.3, 0.5)),
    "glaze": (GLAZE, Finish(0.6, 0.8)),
    "bar": (BAR, Finish(0.2, 0.3)),
}
GRAIN, GRAIN_PX = "grain", 96
_UNSET = (0.5, 0.5, 0.5, 1.0)  # MuJoCo's default: a geom of this colour takes its material's


def dress(spec: mujoco.MjSpec) -> None:
    """Give every geom of a known colour the material of that colour."""
    names = {_key(colour): name for name, (colour, _) in FINISHES.items()}
    used = set()
    for geom in spec.geoms:
        name = names.get(_key(geom.rgba))
        if name is not None and not geom.material:
            geom.material, geom.rgba = name, _UNSET
            used.add(name)
    if any(FINISHES[name][1].grained for name in used):
        _add_grain(spec)
    for name in sorted(used):
        colour, finish = FINISHES[name]
        material = spec.add_material(
            name=name, rgba=colour, specular=finish.specular, shininess=finish.shininess
        )
        if finish.grained:
            material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = GRAIN


def _key(colour: object) -> tuple[float, ...]:
    return tuple(np.round(np.asarray(colour, float), 3).tolist())


def _add_grain(spec: mujoco.MjSpec) -> None:
    """Add the texture of wood: a grey that a material's colour tints."""
    grey = (255 * grain()).round().astype(np.uint8)
    texture = spec.add_texture(
        name=GRAIN, type=mujoco.mjtTexture.mjTEXTURE_CUBE, width=GRAIN_PX, height=6 * GRAIN_PX, nchannel=3
    )
    texture.data = np.repeat(grey.reshape(-1, 1), 3, 1).tobytes()


def grain(size: int = GRAIN_PX) -> np.ndarray:
    """Return the brightness (6, size, size) of the faces of a wooden cube, cut from one log along z.

    Faces in OpenGL's order: +x, -x, +y, -y, +z, -z. Rings of a log whose heart lies beside the cube, a slow
    wave in them, and fibres: sums of sines, the same on every machine.
    """
    line = (np.arange(size) + 0.5) / size * 2 - 1
    t, s = np.meshgrid(line, line, indexing="ij")
    one = np.ones_like(s)
    faces = [(one, -t, -s), (-one, -t, s), (s, one, t), (s, -one, -t), (s, -t, one), (-s, -t, -one)]
    x, y, z = (np.stack([face[axis] for face in faces]) for axis in range(3))
    sway = 0.10 * np.sin(1.3 * z + 0.7) + 0.05 * np.sin(3.1 * z + 2.0 * x) + 0.03 * np.sin(5.3 * y + 1.1)
    rings = np.hypot(x + 2.3 + sway, y - 1.1 + 0.6 * sway) * 2 * math.pi * 3.5
    ring = 0.5 + 0.5 * np.sin(rings + 0.6 * np.sin(rings))
    fibre = (
        np.sin(37 * x + 3 * np.sin(4 * z)) * np.sin(41 * y + 2 * np.sin(3 * z + 1)) * np.sin(2.1 * z + 9 * x)
    )
    brightness: np.ndarray = np.clip(0.97 - 0.17 * ring**2 + 0.03 * fibre, 0.0, 1.0)
    return brightness
