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


def check_at_least(config: object, least: float, *names: str) -> None:
    """Refuse a config some of whose numbers lie below `least` or are not finite."""
    for name in names:
        value = getattr(config, name)
        if not least <= value < math.inf:
            raise UserError(f"{name}={value}: needs at least {least:g}")
