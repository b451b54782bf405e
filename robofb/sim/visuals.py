"""How a scene looks in an episode: light, colours, cameras and textures that differ from one to the next."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields

import mujoco
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robofb.errors import UserError, check_at_least
from robofb.geometry import quat_from_axis_angle, quat_multiply
from robofb.rng import EpisodeRng
from robofb.sim.textures import textured_materials

_LIGHT = ("light_ambient", "light_diffuse", "light_specular")
_HEADLIGHT = ("ambient", "diffuse", "specular")  # fields of model.vis.headlight
_PLACED = ("light_pos", "light_dir", "cam_pos", "cam_quat", "cam_fovy")
_FIELDS = (*_LIGHT, *_HEADLIGHT, *_PLACED, "geom_rgba", "geom_matid")
_PLAIN_RGBA = (0.5, 0.5, 0.5, 1.0)  # of a geom that says no colour: its material's is shown, if it has one


@dataclass(frozen=True)
class VisualRandomization:
    """How far the looks of an episode go from the scene's own, each way; 0 changes nothing.

    Attributes:
        light: share by which all lights together become brighter or darker, below 1.
        light_colour: share by which each of red, green and blue of the light does, below 1.
        light_pos_m: of every light, along x, y and z [m]; one that is infinitely far turns as if it stood at
            its `pos` and still aimed at the same point.
        colour: of each of red, green and blue (0..1) of each thing: a part, the arm, the table.
        camera_pos_m: of every camera, along the axes of what it is fixed to [m].
        camera_angle_rad: of every camera: of a rotation vector, along each of the camera's axes [rad].
        camera_fovy: share by which each camera's field of view grows or shrinks, below 1.
        texture: chance that a thing fixed to the world, such as the table, bears one of the textures that
            `add_textures` has put into the scene.

    Raises:
        UserError: a value below 0, or a share or chance too large.
    """

    light: float = 0.0
    light_colour: float = 0.0
    light_pos_m: float = 0.0
    colour: float = 0.0
    camera_pos_m: float = 0.0
    camera_angle_rad: float = 0.0
    camera_fovy: float = 0.0
    texture: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(self, 0, *(field.name for field in fields(self)))
        for name in ("light", "light_colour", "camera_fovy"):
            if getattr(self, name) >= 1:
                raise UserError(f"{name}={getattr(self, name)}: must be below 1")
        for name in ("colour", "texture"):
            if getattr(self, name) > 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at most 1")


class WorldLooks:
    """The looks of every world, shown by a model of its own that physics knows nothing of.

    Args:
        model: the scene.
        ranges: how far looks go from it.
        num_worlds: B.

    Attributes:
        model: what pictures are taken of; `show` makes it look like one of the worlds.

    Raises:
        UserError: textures are wanted of a scene that has none.
    """

    def __init__(self, model: mujoco.MjModel, ranges: VisualRandomization, num_worlds: int) -> None:
        self.model, self.ranges = copy.copy(model), ranges
        self._materials = torch.from_numpy(textured_materials(model))
        if ranges.texture and not len(self._materials):
            raise UserError(f"texture={ranges.texture:g}: this scene has no textures; leave texture out")
        self._thing = torch.from_numpy(things(model))  # (ngeom,)
        self._rgba = torch.from_numpy(shown_colours(model))  # (ngeom, 4)
        self._fixed = torch.from_numpy(model.geom_bodyid == 0)  # (ngeom,)
        self._own = {name: torch.from_numpy(self._field(name).copy()) for name in _FIELDS}  # the scene's
        self._values = {
            name: self._own[name].repeat(num_worlds, *[1] * self._own[name].ndim) for name in self._varied()
        }

        kinds = torch.from_numpy(np.asarray(model.light_type))
        self._distant = kinds == int(mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)

    def draw(self, ids: Tensor, rng: EpisodeRng) -> None:
        """Draw the looks of worlds `ids` (n,) from `rng` (n rows).

        A world's draw depends on its own stream alone, and no range moves another's draws.
        """
        light, tint, light_pos = _each_way(rng, 1), _each_way(rng, 3), _each_way(rng, self.model.nlight, 3)
        shift = _each_way(rng, int(self._thing.max()) + 1, 3)[:, self._thing]
        lens = _each_way(rng, self.model.ncam, 7)  # place, turn, field of view
        chance, choice = rng.uniform(2, self.model.ngeom).unbind(1)
        own, ranges = self._own, self.ranges
        factor = (1 + ranges.light * light) * (1 + ranges.light_colour * tint)  # (n, 3)
        textured = self._fixed & (chance < ranges.texture)  # (n, ngeom)
        turn = _quats(ranges.camera_angle_rad * lens[..., 3:6])
        drawn = {
            **{name: own[name] * factor[:, None] for name in _LIGHT},
            **{name: own[name] * factor for name in _HEADLIGHT},
            "light_pos": own["light_pos"] + ranges.light_pos_m * light_pos,
            "light_dir": self._turned(ranges.light_pos_m * light_pos),
            "geom_rgba": torch.cat(
                [
                    (self._rgba[:, :3] + ranges.colour * shift).clamp(0, 1),
                    self._rgba[:, 3:].expand(len(ids), -1, -1),
                ],
                -1,
            ),
            "geom_matid": torch.where(textured, self._pick(choice), own["geom_matid"]),
            "cam_pos": own["cam_pos"] + ranges.camera_pos_m * lens[..., :3],
            "cam_quat": quat_multiply(own["cam_quat"].expand_as(turn), turn),
            "cam_fovy": own["cam_fovy"] * (1 + ranges.camera_fovy * lens[..., 6]),
        }
        for name, values in self._values.items():
            values[ids.cpu()] = drawn[name].to(values.dtype)

    def _turned(self, moved_m: Tensor) -> Tensor:
        """Return directions (n, nlight, 3) of lights that moved (n, nlight, 3): only distant ones turn."""
        own, distant = self._own["light_dir"], self._distant[:, None]
        reach_m = self._own["light_pos"].norm(dim=-1, keepdim=True)
        return torch.where(distant, F.normalize(own * reach_m - moved_m, dim=-1), own)

    def _pick(self, choice: Tensor) -> Tensor:
        """Return (n, ngeom) materials by `choice`, uniform in [0, 1); -1 where the scene has none."""
        if not len(self._materials):
            return torch.full_like(choice, -1, dtype=self._materials.dtype)
        return self._materials[(choice * len(self._materials)).long()]

    def show(self, world: int) -> None:
        """Make `model` look like a world."""
        for name, values in self._values.items():
            self._field(name)[...] = values[world].numpy()

    def _varied(self) -> list[str]:
        """Return the names of the model's fields that differ between episodes."""
        ranges = self.ranges
        by_range = (
            (ranges.light or ranges.light_colour, (*_LIGHT, *_HEADLIGHT)),
            (ranges.light_pos_m, ("light_pos", "light_dir")),
            (ranges.colour or ranges.texture, ("geom_rgba",)),
            (ranges.texture, ("geom_matid",)),
            (ranges.camera_pos_m, ("cam_pos",)),
            (ranges.camera_angle_rad, ("cam_quat",)),
            (ranges.camera_fovy, ("cam_fovy",)),
        )
        return [name for varies, names in by_range if varies for name in names]

    def _field(self, name: str) -> np.ndarray:
        values: np.ndarray = getattr(self.model.vis.headlight if name in _HEADLIGHT else self.model, name)
        return values


def things(model: mujoco.MjModel) -> np.ndarray:
    """Return (ngeom,) int64, the number of the thing that each shape belongs to, from 0.

    Shapes of one chain of bodies, such as an arm or a part, are one thing; each shape that is fixed to the
    world is one by itself.
    """
    root = model.body_rootid[model.geom_bodyid].astype(np.int64)
    own = np.where(root == 0, model.nbody + np.arange(model.ngeom), root)
    return np.unique(own, return_inverse=True)[1].astype(np.int64)


def shown_colours(model: mujoco.MjModel) -> np.ndarray:
    """Return (ngeom, 4) float32, the colour that MuJoCo shows: a shape's own, or else its material's."""
    rgba: np.ndarray = model.geom_rgba.copy()
    plain = (rgba == np.asarray(_PLAIN_RGBA, np.float32)).all(-1) & (model.geom_matid >= 0)
    rgba[plain] = model.mat_rgba[model.geom_matid[plain]]
    return rgba


def _each_way(rng: EpisodeRng, count: int, *shape: int) -> Tensor:
    """Return (n, count, *shape) float64 uniform in [-1, 1); of a scene without lights none."""
    return 2 * rng.uniform(max(count, 1), *shape)[:, :count].double() - 1


def _quats(rotvec: Tensor) -> Tensor:
    """Return the quaternions (..., 4) of axis-times-angle vectors (..., 3) [rad]."""
    angle = rotvec.norm(dim=-1)
    return quat_from_axis_angle(rotvec / angle.clamp_min(1e-12).unsqueeze(-1), angle)
