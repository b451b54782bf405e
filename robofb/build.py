"""Make objects from config nodes: only classes that are trusted, with errors a user can read."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Iterable
from dataclasses import fields
from functools import partial
from typing import Any

from omegaconf import OmegaConf

from robofb.errors import UserError

TRUSTED_PREFIXES: tuple[str, ...] = ("robofb.",)  # a run folder may come from anywhere
ENTRY_POINTS = "robofb.packages"  # group in which an installed package says that it may be named as well
_SPECIAL = ("_target_", "_partial_", "_convert_")
_BAD_VALUE = (TypeError, ValueError, LookupError, ArithmeticError, RuntimeError)  # what one leads to


def build(node: Any, *args: Any) -> Any:
    """Make what a node's `_target_` names; what is inside the node is made first.

    Args:
        node: a config node or plain dict. With `_partial_` it makes a function, which is called here
            where `args` are given.
        args: what the config cannot know, such as the spec.

    Raises:
        UserError: the target's own, or one line where it is not trusted or cannot take what it is given.
    """
    node = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if not isinstance(node, dict) or "_target_" not in node:
        raise UserError(f"cannot make {node}: it has no _target_")
    try:
        made = _make(node)
        return made(*args) if args else made
    except _BAD_VALUE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"cannot make {node['_target_']}: {reason}") from error


def build_whole(name: str, node: Any) -> Any:
    """Make a dataclass of which a config must say every value: what bounds an arm is left to no default.

    Args:
        name: of the node, for messages.
        node: as for `build`.

    Raises:
        UserError: as for `build`, or names the keys that are missing.
    """
    if not node:
        raise UserError(f"{name}: is missing; say it, as configs/arm/*.yaml do")
    made = build(node)
    missing = [each.name for each in fields(made) if each.name not in node]
    if missing:
        raise UserError(f"{name}: leaves out {', '.join(missing)}; say each, as configs/arm/*.yaml do")
    return made


def _make(node: Any) -> Any:
    if isinstance(node, list):
        return [_make(item) for item in node]
    if not isinstance(node, dict):
        return node
    values = {key: _make(value) for key, value in node.items() if key not in _SPECIAL}
    if "_target_" not in node:
        return values
    target = _trusted(node["_target_"])
    _check_keys(node["_target_"], target, values)
    return partial(target, **values) if node.get("_partial_") else target(**values)


def _check_keys(name: str, target: type, values: Iterable[str]) -> None:
    """Refuse a key that a class does not take, by name."""
    takes = inspect.signature(target).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in takes.values()):
        return
    for key in values:
        if key not in takes:
            raise UserError(f"cannot make {name}: no key '{key}'; valid: {', '.join(takes)}")


def _trusted(target: Any) -> type:
    """Import a class; no other callable, for one of ours may lead to any."""
    module, _, name = str(target).rpartition(".")
    prefixes = trusted_prefixes()
    if f"{module}.".startswith(prefixes):
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise UserError(f"cannot make {target}: {error}") from error
        if isinstance(found, type) and f"{found.__module__}.".startswith(prefixes):
            return found
    raise UserError(
        f"the config names {target}: only classes of robofb, and of installed packages with an entry point "
        f"in the group {ENTRY_POINTS}, are made from configs"
    )


def trusted_prefixes() -> tuple[str, ...]:
    """Return what the names of classes may begin with: ours, and packages that declare themselves."""
    declared = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return (*TRUSTED_PREFIXES, *(f"{point.value}." for point in declared))
