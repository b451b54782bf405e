"""Look at values that came from JSON before they are believed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np


def entry(values: Any, key: str, types: type | tuple[type, ...]) -> Any:
    """Return `values[key]`, or raise ValueError where it is missing or of another type."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{values!r} is no object with '{key}'")
    if key not in values:
        raise ValueError(f"'{key}' is missing")
    if not isinstance(values[key], types):
        raise ValueError(f"'{key}' is {values[key]!r}")
    return values[key]


def is_number(value: Any) -> bool:
    """Return whether a value is a number, which True is not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number, which True is not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def all_text(values: Iterable[Any]) -> bool:
    """Return whether all values are text."""
    return all(isinstance(value, str) for value in values)


def is_plain_dtype(name: Any) -> bool:
    """Return whether a value is numpy's name of a number's type."""
    try:
        return isinstance(name, str) and np.dtype(name).kind in "fiub"
    except (TypeError, ValueError, SyntaxError):
        return False
