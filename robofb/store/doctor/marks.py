"""Bottleneck marks that mark nothing."""

from __future__ import annotations

from robofb.errors import UserError
from robofb.store.bottlenecks import load_bottlenecks
from robofb.store.doctor.finding import ERROR, EpisodeCheck, Finding
from robofb.store.doctor.recorded import Recorded

BAD_MARKS = "bad_bottlenecks"


def check_marks(recorded: Recorded) -> list[Finding]:
    """Find bottleneck marks that are no marks, or beyond the episode's steps."""
    try:
        load_bottlenecks(recorded.meta, recorded.length)
    except UserError as error:
        return [Finding(BAD_MARKS, ERROR, recorded.number, None, "", str(error))]
    return []


CHECK = EpisodeCheck("marks", check_marks)
