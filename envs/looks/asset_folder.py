"""Meshes of other projects, kept in a folder of the user's: each pack with its licence and a list of it all.

The folder is that of the variable ROBOFB_ASSETS, else `robofb/assets` in the user's data folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from robofb.checked_json import entry, is_number
from robofb.errors import UserError
from robofb.files import file_errors
from robofb.store.new_output import NewOutput

LIST_FILE, LICENCE_FILE = "meshes.json", "LICENSE"
FORMAT = 1
VARIABLE = "ROBOFB_ASSETS"
ARM_PACK, PARTS_PACK = "menagerie", "furniture-bench"


@dataclass(frozen=True)
class AssetMesh:
    """One mesh of a pack.

    Attributes:
        shows: what it is the look of: a part or a link of the arm; several meshes may show one.
        file: its name in the pack's folder; coordinates are in the frame of what it shows [m].
        sha256: of the file.
        rgba: its colour; empty where the scene chooses one.
    """

    shows: str
    file: str
    sha256: str
    rgba: tuple[float, ...] = ()


@dataclass(frozen=True)
class AssetPack:
    """Meshes taken from one project.

    Attributes:
        folder: where they are.
        meshes: all of them.
        sha256: of the list of the meshes, which holds their hashes: it tells packs apart.
    """

    folder: Path
    meshes: tuple[AssetMesh, ...]
    sha256: str

    def showing(self, name: str) -> list[AssetMesh]:
        """Return the meshes of a part or link.

        Raises:
            UserError: it has none, or a file is not what was imported.
        """
        found = [mesh for mesh in self.meshes if mesh.shows == name]
        if not found:
            raise UserError(f"{self.folder} has no mesh of '{name}'; {_import_again(self.folder)}")
        for mesh in found:
            path = self.folder / mesh.file
            with file_errors(f"cannot read {path}"):
                content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != mesh.sha256:
                raise UserError(f"{path} is not the file that was imported; {_import_again(self.folder)}")
        return found


def _import_again(folder: Path) -> str:
    return f"remove {folder}, then robofb assets {folder.name} PATH"


def asset_folder() -> Path:
    """Return the folder of all packs, which need not exist."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "robofb" / "assets"


def check_free(folder: Path) -> None:
    """Raise UserError where a pack or anything else is in the way."""
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder} exists: remove it to import again, or say --out DIR")


def save_pack(
    folder: Path, files: Sequence[tuple[str, tuple[float, ...], bytes]], licence: str, source: str
) -> AssetPack:
    """Write a pack whole or not at all.

    Args:
        folder: of the pack, which does not exist.
        files: what each mesh shows, its colour or (), and its OBJ content.
        licence: under which the meshes are.
        source: name of what they were taken from.

    Raises:
        UserError: the folder exists or cannot be written.
    """
    check_free(folder)
    meshes = []
    with NewOutput(folder, "nothing is imported") as new:
        new.target.mkdir()
        for number, (shows, rgba, content) in enumerate(files):
            name = f"{number:02d}_{shows}.obj"
            (new.target / name).write_bytes(content)
            meshes.append(AssetMesh(shows, name, hashlib.sha256(content).hexdigest(), rgba))
        (new.target / LICENCE_FILE).write_text(licence)
        held = {"format": FORMAT, "source": source, "meshes": [asdict(mesh) for mesh in meshes]}
        (new.target / LIST_FILE).write_text(json.dumps(held, indent=1))
        new.publish()
    return load_pack(folder)


def load_pack(folder: Path) -> AssetPack:
    """Read a pack's list.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = folder / LIST_FILE
    if not path.is_file():
        raise UserError(
            f"no {folder.name} meshes in {folder.parent}: robofb assets {folder.name} PATH takes them "
            f"({VARIABLE} names another folder)"
        )
    with file_errors(f"cannot read {path}"):
        content = path.read_bytes()
    try:
        held = json.loads(content)
        if entry(held, "format", int) != FORMAT:
            raise ValueError(f"'format' is {held['format']}, not {FORMAT}")
        meshes = tuple(_mesh(values) for values in entry(held, "meshes", list))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}; {_import_again(folder)}") from None
    return AssetPack(folder, meshes, hashlib.sha256(content).hexdigest())


def _mesh(values: object) -> AssetMesh:
    shows, file, sha256 = (entry(values, key, str) for key in ("shows", "file", "sha256"))
    rgba = entry(values, "rgba", list)
    if Path(file).name != file:
        raise ValueError(f"'file' is {file!r}")
    if len(rgba) not in (0, 4) or not all(is_number(value) and 0 <= value <= 1 for value in rgba):
        raise ValueError(f"'rgba' is {rgba!r}")
    return AssetMesh(shows, file, sha256, tuple(rgba))
