"""Writers of other people's formats, one module each; a module is registered by being there."""

from __future__ import annotations

import importlib
import pkgutil
from typing import cast

from robofb.errors import UserError
from robofb.store.foreign import Exporter


def exporters() -> dict[str, Exporter]:
    """Return every exporter by its format's name."""
    return {
        found.name: cast(Exporter, importlib.import_module(f"{__name__}.{found.name}"))
        for found in pkgutil.iter_modules(__path__)
    }


def find_exporter(name: str) -> Exporter:
    """Return the exporter of a format.

    Raises:
        UserError: an unknown name.
    """
    known = exporters()
    if name not in known:
        raise UserError(f"format '{name}' cannot be written; valid: {', '.join(known)}")
    return known[name]
