"""The `robofb data` verbs: one module each, registered by being there.

A module has `register(app)`, which adds its commands to a Typer app; what they call is imported only
when they run, so that `--help` stays quick.
"""

from __future__ import annotations

import importlib
import pkgutil

import typer


def make_app() -> typer.Typer:
    """Return the app with the commands of every module here."""
    app = typer.Typer(help="Look at datasets, check and change them.", no_args_is_help=True)
    for found in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{found.name}").register(app)
    return app
