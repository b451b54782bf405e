"""Show meshes of the user's assets in place of the primitives, which go on to touch and weigh."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import mujoco

from robofb.envs.looks.asset_folder import ARM_PACK, PARTS_PACK, AssetPack, asset_folder, load_pack
from robofb.errors import UserError

LOOKS = {  # by name: whether the arm and whether the parts are shown by meshes
    "primitive": (False, False),
    "arm": (True, False),
    "parts": (False, True),
    "meshes": (True, True),
}
SHOWN_GROUPS = 3  # MuJoCo's cameras see geoms of the groups below this
HIDDEN_GROUP = 3
ARM_BODIES = {  # of ours, by Menagerie's name of the link
    "link0": "base",
    **{f"link{number}": f"link{number}" for number in range(1, 8)},
    "hand": "hand",
    "left_finger": "finger_left",
    "right_finger": "finger_right",
}


class MeshLooks:
    """What a scene shows by meshes.

    Args:
        looks: one of `LOOKS`.
        part_meshes: part of furniture-bench by the name of the body that it is the look of.

    Raises:
        UserError: unknown looks; parts are to be shown and this task has none; or the meshes are not there.
    """

    def __init__(self, looks: str, part_meshes: Mapping[str, str]) -> None:
        if looks not in LOOKS:
            raise UserError(f"looks must be one of {', '.join(LOOKS)}, not {looks!r}")
        if looks == "parts" and not part_meshes:
            raise UserError("looks=parts: none of this task's parts has a mesh; take primitive or arm")
        arm, parts = LOOKS[looks]
        self.looks, self.part_meshes = looks, dict(part_meshes)
        self._arm = load_pack(asset_folder() / ARM_PACK) if arm else None
        self._parts = load_pack(asset_folder() / PARTS_PACK) if parts and part_meshes else None

    @property
    def meta(self) -> dict[str, object]:
        """What a dataset should tell: nothing of primitives, else the looks and the hashes of the packs."""
        if self.looks == "primitive":
            return {}
        packs = {pack.folder.name: pack.sha256 for pack in (self._arm, self._parts) if pack is not None}
        return {"looks": self.looks, "looks_sha256": packs}

    def add(self, spec: mujoco.MjSpec) -> None:
        """Add the meshes to a scene and hide what they stand for."""
        if self._arm is not None:
            for link, body in ARM_BODIES.items():
                _replace(spec, spec.body(body), self._arm, link)
        if self._parts is not None:
            for body, part in self.part_meshes.items():
                _replace(spec, spec.body(body), self._parts, part)


def _replace(spec: mujoco.MjSpec, body: mujoco.MjsBody, pack: AssetPack, shows: str) -> None:
    """Hide the geoms of one body and add a pack's meshes of it; the first geom's material is theirs."""
    shown = [geom for geom in body.geoms if geom.group < SHOWN_GROUPS]
    meshes = pack.showing(shows)
    for geom in shown:
        geom.group = HIDDEN_GROUP
    for mesh in meshes:
        name = f"{pack.folder.name}/{mesh.file}"
        if spec.mesh(name) is None:
            _add_mesh(spec, name, pack.folder / mesh.file)
        look = {"rgba": mesh.rgba} if mesh.rgba else {"material": shown[0].material, "rgba": shown[0].rgba}
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=name,
            contype=0,
            conaffinity=0,
            group=2,
            mass=0,
            **look,
        )


def _add_mesh(spec: mujoco.MjSpec, name: str, path: Path) -> None:
    spec.add_mesh(
        name=name,
        file=str(path.absolute()),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,  # it has no mass: it need not be closed
    )
