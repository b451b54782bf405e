"""Bottleneck marks: the steps of an episode at which precision decides, kept in the episode's meta."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from robofb.errors import UserError

BOTTLENECKS = "bottlenecks"  # key of the meta
BY_PERSON, BY_RULE = "person", "rule"


@dataclass(frozen=True, order=True)
class Bottleneck:
    """One mark.

    Attributes:
        step: of the observation at which the bottleneck begins, 0..T.
        by: BY_PERSON or BY_RULE.
        why: a few words.
    """

    step: int
    by: str
    why: str


def load_bottlenecks(meta: Mapping[str, Any], num_steps: int) -> tuple[Bottleneck, ...]:
    """Return the marks in the meta of an episode of `num_steps` actions, by step.

    Raises:
        UserError: the meta holds something else there.
    """
    stored = meta.get(BOTTLENECKS, [])
    if not isinstance(stored, list):
        raise UserError(f"meta {BOTTLENECKS} is {stored!r}: needs a list of step, by, why")
    return tuple(sorted(_load(values, num_steps) for values in stored))


def _load(values: Any, num_steps: int) -> Bottleneck:
    sound = (
        isinstance(values, dict)
        and set(values) == {"step", "by", "why"}
        and type(values["step"]) is int
        and values["by"] in (BY_PERSON, BY_RULE)
        and isinstance(values["why"], str)
    )
    if not sound:
        raise UserError(
            f"meta {BOTTLENECKS} holds {values!r}: needs step, by ({BY_PERSON} or {BY_RULE}), why"
        )
    if not 0 <= values["step"] <= num_steps:
        raise UserError(f"meta {BOTTLENECKS} marks step {values['step']}; valid: 0..{num_steps}")
    return Bottleneck(**values)


def bottlenecks_meta(marks: Iterable[Bottleneck]) -> dict[str, Any]:
    """Return what `EpisodeStore.update` takes as "meta" to keep these marks; none removes the key."""
    return {BOTTLENECKS: [asdict(mark) for mark in sorted(marks)] or None}
