"""What `robofb data doctor` prints."""

from __future__ import annotations

from itertools import groupby

from robofb.store.doctor.examine import Diagnosis
from robofb.store.doctor.finding import Finding

SHOWN = 8  # findings of one fault; --json gives all


def format_diagnosis(diagnosis: Diagnosis) -> str:
    """Return a diagnosis as text: findings grouped by fault, worst first, and the verdict last."""
    lines = []
    for (severity, fault), group in groupby(diagnosis.findings, lambda f: (f.severity, f.fault)):
        findings = list(group)
        lines.append(f"{severity}: {fault} ({len(findings)})")
        lines += [f"  {place(finding)}: {finding.text}" for finding in findings[:SHOWN]]
        if len(findings) > SHOWN:
            lines.append(f"  and {len(findings) - SHOWN} more (--json lists all)")
    if diagnosis.not_checked:
        lines.append("not checked:")
        lines += [f"  {name}: {why}" for name, why in diagnosis.not_checked.items()]
    lines += [f"{name} {value:g}" for name, value in diagnosis.measured.items()]
    warnings = len(diagnosis.findings) - diagnosis.errors
    lines.append(f"{_verdict(diagnosis)}; errors: {diagnosis.errors}, warnings: {warnings}")
    return "\n".join(lines)


def _verdict(diagnosis: Diagnosis) -> str:
    if not diagnosis.readable:
        return "no episode could be looked at: the dataset itself is damaged"
    own = diagnosis.own_errors
    verdict = f"{diagnosis.sound_episodes} of {len(diagnosis.lengths)} episodes sound"
    return f"{verdict}, errors of the dataset itself: {own}" if own else verdict


def place(finding: Finding) -> str:
    """Return where a finding is, such as "episode 3, frames 4 to 9, image_front"."""
    parts = ["dataset" if finding.episode is None else f"episode {finding.episode}"]
    if finding.frames is not None:
        first, last = finding.frames
        parts.append(f"frame {first}" if first == last else f"frames {first} to {last}")
    return ", ".join([*parts, finding.key] if finding.key else parts)
