"""Textures made by rule, as materials of a scene that `visuals` lays on tables in some episodes."""

from __future__ import annotations

import mujoco
import numpy as np

SIZE_PX = 128
PERIOD_M = 0.25  # length of one repetition
_PREFIX = "texture_"
_SEED = 5


def add_textures(spec: mujoco.MjSpec) -> None:
    """Add the textured materials to a scene; nothing bears them yet.

    Their own colour is MuJoCo's default, so a shape's colour counts; the texture multiplies it.
    """
    for name, pixels in make_textures().items():
        texture = spec.add_texture(
            name=f"{_PREFIX}{name}",
            type=mujoco.mjtTexture.mjTEXTURE_2D,
            width=SIZE_PX,
            height=SIZE_PX,
            nchannel=3,
        )
        texture.data = pixels.tobytes()
        material = spec.add_material(name=f"{_PREFIX}{name}", specular=0.1, shininess=0.1)
        material.rgba = [0.5, 0.5, 0.5, 1]
        material.texuniform, material.texrepeat = True, [1 / PERIOD_M, 1 / PERIOD_M]
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture.name


def textured_materials(model: mujoco.MjModel) -> np.ndarray:
    """Return the numbers of the materials that `add_textures` added, int64."""
    named = [number for number in range(model.nmat) if model.material(number).name.startswith(_PREFIX)]
    return np.asarray(named, np.int64)


def make_textures() -> dict[str, np.ndarray]:
    """Return grey pictures (SIZE_PX, SIZE_PX, 3) uint8 by name; they repeat without a seam."""
    row, column = np.mgrid[:SIZE_PX, :SIZE_PX] / SIZE_PX
    turns = 2 * np.pi
    wavy = column + 0.05 * np.sin(turns * row)
    shades = {
        "checker": (np.floor(4 * row) + np.floor(4 * column)) % 2,
        "stripes": 0.5 + 0.5 * np.sin(turns * 6 * column),
        "grain": 0.5 + 0.25 * np.sin(turns * 3 * wavy) + 0.25 * np.sin(turns * 17 * wavy),
        "clouds": _clouds(np.random.default_rng(_SEED)),
    }
    return {
        name: np.repeat(np.round(255 * (0.55 + 0.45 * shade)).astype(np.uint8)[..., None], 3, -1)
        for name, shade in shades.items()
    }


def _clouds(rng: np.random.Generator) -> np.ndarray:
    """Return soft blotches (SIZE_PX, SIZE_PX) in 0..1: noise whose long waves are the strongest."""
    waves = np.fft.fftfreq(SIZE_PX, 1 / SIZE_PX)
    strength = 1 / (1 + waves[:, None] ** 2 + waves[None] ** 2)
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((SIZE_PX, SIZE_PX))) * strength).real
    noise -= noise.min()
    return np.asarray(noise / noise.max())
