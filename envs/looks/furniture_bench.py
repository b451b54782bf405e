"""Take furniture-bench's meshes for looks, and check our dimensions against them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robofb.envs.looks.asset_folder import PARTS_PACK, AssetPack, check_free, save_pack
from robofb.envs.looks.dimension_check import Dimension, compare
from robofb.envs.looks.mesh_source import MeshSource
from robofb.envs.looks.obj_mesh import ObjMesh, read_obj, write_obj
from robofb.envs.looks.part_meshes import PART_MESHES
from robofb.errors import UserError

_PROBE = PART_MESHES[0].file
_FOLDERS = (  # of the meshes, in a wheel or checkout and in what people may point at inside one
    "furniture_bench/assets/furniture/mesh/",
    "assets/furniture/mesh/",
    "furniture/mesh/",
    "mesh/",
    "",
)
_LICENCES = (
    "furniture_bench-*.dist-info/LICENSE",
    "furniture_bench-*.dist-info/licenses/LICENSE",
    "LICENSE*",
)


@dataclass(frozen=True)
class Imported:
    """What an import came to.

    Attributes:
        dimensions: ours against the meshes'.
        pack: what was written; None where sizes differ, or nothing was to be written.
    """

    dimensions: list[Dimension]
    pack: AssetPack | None

    @property
    def sound(self) -> bool:
        """Whether all outer sizes agree."""
        return all(row.agrees for row in self.dimensions if row.judged)


def import_furniture_bench(path: Path, folder: Path, dry_run: bool = False) -> Imported:
    """Read the meshes of our parts, compare them with our dimensions, and keep those that are shown.

    Nothing is written where an outer size differs: they would be the looks of other parts.

    Args:
        path: a wheel, an unpacked one, or a checkout.
        folder: of all packs; the meshes go to `furniture-bench` in it.
        dry_run: write nothing.

    Raises:
        UserError: a mesh or the licence is missing, or damaged; or the pack exists.
    """
    if not dry_run:
        check_free(folder / PARTS_PACK)
    with MeshSource(path) as source:
        meshes, licence = _read_meshes(source), _read_licence(source)
    untagged = {part: mesh.of_main_material() for part, mesh in meshes.items()}
    imported = Imported(compare(untagged), None)
    if dry_run or not imported.sound:
        return imported
    shown = [place.part for place in PART_MESHES if not place.why_hidden]
    files = [(part, (), write_obj(meshes[part])) for part in shown]
    return Imported(imported.dimensions, save_pack(folder / PARTS_PACK, files, licence, path.name))


def _read_meshes(source: MeshSource) -> dict[str, ObjMesh]:
    """Return the meshes in the frames of our parts, with the tags on them, which close their surfaces."""
    found = [folder for folder in _FOLDERS if source.has(folder + _PROBE)]
    top = found[0] if found else _FOLDERS[0]
    missing = [place.file for place in PART_MESHES if not source.has(top + place.file)]
    if missing:
        raise UserError(f"{source.path} lacks {', '.join(top + file for file in missing)}")
    return {
        place.part: read_obj(source.read(top + place.file), place.file).moved(place.turn, place.origin_m)
        for place in PART_MESHES
    }


def _read_licence(source: MeshSource) -> str:
    """Return the text of furniture-bench's licence, which must go where its meshes go."""
    for pattern in _LICENCES:
        for name in source.names(pattern):
            return source.read(name).decode("utf-8", "replace")
    raise UserError(f"{source.path} lacks a licence ({' or '.join(_LICENCES)}): its meshes may not be copied")
