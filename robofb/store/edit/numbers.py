"""Episode numbers as people write them: 3,5-7."""

from __future__ import annotations

import re
from collections.abc import Iterable

from robofb.errors import UserError
from robofb.store.episodes import EpisodeStore


def parse_numbers(text: str, store: EpisodeStore) -> list[int]:
    """Return the ascending episode numbers that a text such as "3,5-7" names: 3, 5, 6, 7.

    Raises:
        UserError: it is written otherwise, or names an episode that the dataset does not have.
    """
    chosen: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,18})(?:-([0-9]{1,18}))?\s*", part, re.ASCII)
        if match is None:
            raise UserError(f"--episodes {text}: '{part.strip()}' is not a number or range such as 5-7")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"--episodes {text}: the range {first}-{last} runs backwards")
        if last >= len(store):
            valid = f"valid: 0..{len(store) - 1}" if len(store) else "it holds none"
            raise UserError(f"--episodes {text}: {store.path} has no episode {last}; {valid}")
        chosen.update(range(first, last + 1))
    return sorted(chosen)


def format_numbers(numbers: Iterable[int]) -> str:
    """Return ascending numbers as `parse_numbers` reads them: 3, 5, 6, 7 becomes "3,5-7"; "none" for none."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges) or "none"
