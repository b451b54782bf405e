"""The pictures that belong to a tick: the same ones for who plans from it and for who records it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from robofb.deploy.live.records import Addresses
from robofb.deploy.ring import Ring


class NoPictureError(Exception):
    """A picture that belongs to a tick cannot be had; says whose, and why."""


class Pictures:
    """Read of each camera the picture that was its newest when the arm's process looked at a tick.

    That one is known by its number: which pictures came since, and when somebody reads, changes nothing.

    Args:
        addresses: of all rings.
        attach: opens one.
        keys: observations `image_<name>`, of which those are read that a camera shows.
    """

    def __init__(self, addresses: Addresses, attach: Callable[[Any], Ring], keys: Collection[str]) -> None:
        self._rings = {
            f"image_{name}": (index, attach(address))
            for index, (name, address) in enumerate(addresses.frames.items())
            if f"image_{name}" in keys
        }

    def at(self, tick: np.void) -> dict[str, np.void]:
        """Return the records, of `records.frame_dtype`, of a tick's pictures, by observation.

        Raises:
            NoPictureError: there was none yet, or newer ones have taken its place.
        """
        found = {}
        for key, (index, ring) in self._rings.items():
            number = int(tick["pictures"][index])
            record = ring.at(number)
            if record is None:
                late = "was overwritten before it was read: the disk or the machine is too slow"
                raise NoPictureError(f"a picture for {key} {late if number else 'has not come yet'}")
            found[key] = record.value
        return found
