"""Readers of other people's formats, one module each; a module is registered by being there."""

from __future__ import annotations

import importlib
import pkgutil
from contextlib import ExitStack
from pathlib import Path
from typing import cast

from robofb.errors import UserError
from robofb.store.foreign import Importer, Source, Wishes, reading
from robofb.store.layout import says_ours


def importers() -> dict[str, Importer]:
    """Return every importer by its format's name."""
    return {
        found.name: cast(Importer, importlib.import_module(f"{__name__}.{found.name}"))
        for found in pkgutil.iter_modules(__path__)
    }


def find_importer(path: Path, name: str) -> tuple[str, Importer]:
    """Return the name and importer of a format, found by looking where `name` is "auto".

    Raises:
        UserError: nothing there, an unknown name, or a path that looks like no format or like several, or
            holds a dataset of ours and is asked for as another format's, which would lose what only ours has.
    """
    known = importers()
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if name != "auto":
        if name not in known:
            raise UserError(f"format '{name}' is unknown; valid: auto, {', '.join(known)}")
        if name != "robofb" and says_ours(path):
            raise UserError(f"{path} is a dataset of robofb, not of format '{name}': leave --from out")
        return name, known[name]
    found = [label for label, importer in known.items() if importer.looks_like(path)]
    if not found:
        raise UserError(f"{path} is in no format known here; known: {', '.join(known)}")
    if len(found) > 1:
        raise UserError(f"{path} looks like {' and '.join(found)}: say which with --from")
    return found[0], known[found[0]]


def open_source(path: Path, name: str, wishes: Wishes, stack: ExitStack) -> tuple[str, Source]:
    """Return the format's name and the dataset at a path; what must be closed is entered into `stack`.

    Raises:
        UserError: as `find_importer`, or the importer refuses.
    """
    found, importer = find_importer(path, name)
    with reading(path):
        return found, importer.open_source(path, wishes, stack)
