"""The one exception that means: the user can mend this."""

from __future__ import annotations

import math


class UserError(Exception):
    """Tell a user's mistake in one line: the thing, the value, the valid choices."""


class DamagedError(UserError):
    """Tell in one line which file of a dataset is damaged, and what is wrong in it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"dataset is damaged: {what}")


class DeviceLostError(Exception):
    """A device that a person or an arm depends on is gone or silent; says which and for how long."""


MOST = 2**63  # what no count and no seed reaches
MOST_THREADS = 256  # far beyond what helps; at some number more the process dies of them


def check_at_least(config: object, least: float, *names: str) -> None:
    """Refuse a config some of whose numbers lie below `least`, are not finite or beyond 64 bits."""
    for name in names:
        value = getattr(config, name)
        if not least <= value < math.inf:
            raise UserError(f"{name}={value}: needs at least {least:g}")
        if isinstance(value, int) and value >= MOST:
            raise UserError(f"{name}={value}: must be below 2**63")


def check_positive(config: object, *names: str) -> None:
    """Refuse a config some of whose numbers are not positive and finite."""
    for name in names:
        if not 0 < getattr(config, name) < math.inf:
            raise UserError(f"{name}={getattr(config, name)}: must be positive and finite")


def check_between(config: object, least: float, most: float, *names: str) -> None:
    """Refuse a config some of whose numbers do not lie in [least, most]."""
    for name in names:
        if not least <= getattr(config, name) <= most:
            raise UserError(f"{name}={getattr(config, name)}: needs {least:g} to {most:g}")


def check_finite(config: object, *names: str) -> None:
    """Refuse a config some of whose numbers are not finite."""
    for name in names:
        if not math.isfinite(getattr(config, name)):
            raise UserError(f"{name}={getattr(config, name)}: must be finite")


def check_seeds(config: object, *names: str) -> None:
    """Refuse a config some of whose seeds do not fit into 64 bits."""
    for name in names:
        check_seed(name, getattr(config, name))


def check_seed(name: str, seed: int) -> None:
    """Refuse a seed that does not fit into 64 bits."""
    if not -MOST <= seed < MOST:
        raise UserError(f"{name}={seed}: a seed lies in -2**63 .. 2**63 - 1")


def check_threads(count: int) -> None:
    """Refuse more of torch's threads than a process can hold."""
    if count > MOST_THREADS:
        raise UserError(f"threads={count}: must be at most {MOST_THREADS}")
