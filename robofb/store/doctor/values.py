"""Numbers that are none."""

from __future__ import annotations

import numpy as np

from robofb.store.doctor.finding import ERROR, EpisodeCheck, Finding, runs
from robofb.store.doctor.recorded import Recorded

NOT_FINITE = "not_finite"


def check_finite_values(recorded: Recorded) -> list[Finding]:
    """Find NaN and infinity in every array."""
    findings = []
    for key, rows in recorded.arrays.items():
        if rows.dtype.kind != "f":
            continue
        bad = ~np.isfinite(rows.reshape(len(rows), -1))
        for first, last in runs(bad.any(1)):
            count = int(bad[first : last + 1].sum())
            text = f"{count} values are NaN or infinite; no other check reads {key} of this episode"
            findings.append(Finding(NOT_FINITE, ERROR, recorded.number, (first, last), key, text))
    return findings


CHECK = EpisodeCheck("values", check_finite_values)
