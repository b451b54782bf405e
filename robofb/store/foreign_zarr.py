"""Look into zarr stores that others wrote: folders and zips of format 2 or 3, without trusting them."""

from __future__ import annotations

import json
import zipfile
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.store.foreign import extra_missing, reading

KNOWN_FORMATS = (2, 3)
# Codecs that only move numbers. Others may run code (pickle) or are unknown.
KNOWN_CODECS = {
    *("blosc", "zstd", "lz4", "zlib", "gzip", "bz2", "lzma", "delta", "shuffle", "vlen-utf8"),
    *("bytes", "transpose", "crc32c", "sharding_indexed"),
}
LOSSY_CODECS = ("imagecodecs_jpeg2k", "imagecodecs_jpeg", "imagecodecs_webp", "imagecodecs_jpegxl")


class ForeignZarr:
    """One zarr hierarchy.

    Args:
        path: folder, or zip file with a hierarchy at its root.

    Attributes:
        notes: what `array` let pass.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._headers: dict[str, dict[str, Any] | None] = {}
        self._zip_names = _zip_names(path) if path.is_file() else None

    def text(self, name: str) -> str | None:
        """Return a small file of the hierarchy, or None where it is not there."""
        if self._zip_names is None:
            file = self.path / name
            return file.read_text() if file.is_file() else None
        if name not in self._zip_names:
            return None
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(name).decode()

    def header(self, name: str) -> dict[str, Any] | None:
        """Return the metadata of an array, or None where there is none of that name."""
        for file in (".zarray", "zarr.json"):
            text = self.text(f"{name}/{file}")
            if text is not None:
                with reading(self.path / name / file):
                    header = json.loads(text)
                    return header if header.get("node_type", "array") == "array" else None
        return None

    def array_names(self, group: str = "") -> list[str]:
        """Return the paths of the arrays directly in a group, and those in its groups, sorted."""
        if self._zip_names is None:
            base = self.path / group
            found = [*base.rglob(".zarray"), *base.rglob("zarr.json")]
            files = [file.relative_to(self.path).as_posix() for file in found]
        else:
            files = [name for name in self._zip_names if name.startswith(group)]
            files = [name for name in files if PurePosixPath(name).name in (".zarray", "zarr.json")]
        names = sorted({str(PurePosixPath(name).parent) for name in files} - {"."})
        return [name for name in names if self.header(name) is not None]

    def check_version(self) -> None:
        """Raise UserError unless the hierarchy is of a known format."""
        for file in (".zgroup", "zarr.json"):
            text = self.text(file)
            if text is None:
                continue
            with reading(self.path / file):
                version = json.loads(text).get("zarr_format")
            if version not in KNOWN_FORMATS:
                known = ", ".join(map(str, KNOWN_FORMATS))
                raise UserError(f"{self.path} has zarr format {version}; known: {known}")
            return
        raise UserError(f"{self.path} is no zarr hierarchy: .zgroup or zarr.json is missing")

    def open(self, stack: ExitStack) -> Any:
        """Return the root as a zarr group, for reading."""
        import zarr  # slow to import

        from robofb.store.checked_chunks import checked_store

        self.check_version()
        for name in sorted(self._zip_names or ()):
            if name.startswith("/") or ".." in PurePosixPath(name).parts:
                raise UserError(f"{self.path} names '{name}', which lies outside it")
        if any("imagecodecs" in json.dumps(self.header(name)) for name in self.array_names()):
            _register_image_codecs()
        with reading(self.path):
            if self._zip_names is not None:
                store = stack.enter_context(zarr.storage.ZipStore(self.path, mode="r"))
            else:
                store = zarr.storage.LocalStore(self.path, read_only=True)
            # A consolidated group with one array of an unknown codec would not open at all.
            return zarr.open_group(checked_store(store, self._is_blosc), mode="r", use_consolidated=False)

    def array(self, root: Any, name: str, may_lack_chunks: bool = False) -> Any:
        """Return an array after checking that reading it runs no code and invents no data.

        Args:
            root: what `open` returned.
            name: path of the array.
            may_lack_chunks: accept chunks that were never written, which read as the fill value.

        Raises:
            UserError: an unknown codec, missing chunks, or an element type that is not plain.
        """
        self._check_codecs(name)
        with reading(self.path / name):
            array = root[name]
            written = array.nchunks_initialized
        if written < array.nchunks:
            lost = f"{array.nchunks - written} of {array.nchunks} chunks are missing"
            if not may_lack_chunks:
                raise UserError(f"{self.path / name} is cut off: {lost}")
            self.notes.append(f"{lost} in '{name}': they read as {array.fill_value}")
        return array

    def codecs(self, name: str) -> set[str]:
        """Return the names of the codecs of an array."""
        header = self.header(name) or {}
        found = [header.get("compressor"), *(header.get("filters") or []), *_nested(header.get("codecs"))]
        return {str(codec.get("id", codec.get("name"))) for codec in found if isinstance(codec, dict)}

    def _is_blosc(self, chunk: str) -> bool:
        """Return whether a chunk file is what Blosc wrote."""
        name = chunk
        while name := name.rpartition("/")[0]:
            if name not in self._headers:
                self._headers[name] = self.header(name)
            header = self._headers[name]
            if header is not None:
                outermost = header.get("compressor") or [{}, *header.get("codecs", [])][-1]
                return "blosc" in (outermost.get("id"), outermost.get("name"))
        return False

    def _check_codecs(self, name: str) -> None:
        for codec in sorted(self.codecs(name)):
            plain = codec.removeprefix("numcodecs.")
            if plain not in KNOWN_CODECS and not plain.startswith("imagecodecs_"):
                raise UserError(
                    f"{self.path / name} is stored with codec '{codec}', which is not read: it may run code"
                )


def is_zarr_of(path: Path, *names: str) -> bool:
    """Return whether a path is a zarr folder or zip that has arrays of all these names."""
    if not path.is_dir() and not (path.is_file() and zipfile.is_zipfile(path)):
        return False
    try:
        found = ForeignZarr(path)
        return all(found.header(name) is not None for name in names)
    except (UserError, OSError, ValueError):
        return False


def read_rows(array: Any, start: int, stop: int, where: Path) -> np.ndarray:
    """Return rows start..stop of a zarr array."""
    with reading(where):
        return np.asarray(array[start:stop])


def _nested(codecs: Any) -> list[Any]:
    """Return zarr 3 codecs with those inside shards."""
    found = []
    for codec in codecs or []:
        inside = codec.get("configuration", {}) if isinstance(codec, dict) else {}
        found += [codec, *_nested(inside.get("codecs")), *_nested(inside.get("index_codecs"))]
    return found


def _zip_names(path: Path) -> frozenset[str]:
    with reading(path), zipfile.ZipFile(path) as archive:
        return frozenset(archive.namelist())


def _register_image_codecs() -> None:
    try:
        from imagecodecs.numcodecs import register_codecs
    except ImportError:
        raise extra_missing("imagecodecs-numcodecs") from None
    register_codecs(verbose=False)
