"""Write what the dataset doctor found as one HTML page with plots."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np

from robofb.charts import Line, curve_chart, histogram
from robofb.files import write_atomically
from robofb.normalize import is_image
from robofb.report import html_page, html_table, page_head, section
from robofb.store.doctor.examine import Diagnosis
from robofb.store.doctor.finding import Finding
from robofb.store.doctor.reading import DatasetReader
from robofb.store.doctor.recorded import Recorded
from robofb.store.doctor.text import place

PLOTS = 16  # findings with curves, of each fault the first ones in turn
LISTED = 2000  # findings in the table; --json gives all
CURVES = 3  # columns in a plot, those that change most where the fault is


def write_page(path: Path, diagnosis: Diagnosis) -> None:
    """Write the page of a diagnosis; the curves are read from the dataset again.

    Raises:
        UserError: where it cannot be written; an older page is intact then.
    """
    write_atomically(path, render_page(diagnosis))


def render_page(diagnosis: Diagnosis) -> str:
    """Return the page as HTML without any reference to other files."""
    warnings = len(diagnosis.findings) - diagnosis.errors
    facts = {
        "episodes": str(len(diagnosis.lengths)),
        "sound": str(diagnosis.sound_episodes),
        "errors": str(diagnosis.errors),
        "of the dataset itself": str(diagnosis.own_errors),
        "warnings": str(warnings),
        **{name.replace("_", " "): f"{value:g}" for name, value in diagnosis.measured.items()},
    }
    lead = "No fault was found." if not diagnosis.findings else ""
    body = [page_head(f"Dataset {diagnosis.path}", lead, facts), _faults(diagnosis), _overview(diagnosis)]
    body += [_plots(diagnosis), _not_checked(diagnosis), _all_findings(diagnosis)]
    return html_page(f"Dataset {diagnosis.path}", "".join(body))


def _faults(diagnosis: Diagnosis) -> str:
    if not diagnosis.findings:
        return ""
    rows = [("fault", "severity", "findings", "episodes", "first")]
    for (severity, fault), group in groupby(diagnosis.findings, lambda f: (f.severity, f.fault)):
        findings = list(group)
        episodes = {finding.episode for finding in findings if finding.episode is not None}
        rows.append((fault, severity, str(len(findings)), str(len(episodes)), place(findings[0])))
    return section("Faults", "Worst first.", html_table(rows))


def _overview(diagnosis: Diagnosis) -> str:
    if not diagnosis.lengths:
        return ""
    lengths = histogram(diagnosis.lengths, "steps in an episode")
    cards = [section("Lengths", "Episodes by their number of steps.", lengths)]
    if diagnosis.intervals:
        numbers = list(diagnosis.intervals)
        error = [100.0 * (diagnosis.intervals[n] / diagnosis.control_dt - 1.0) for n in numbers]
        drift = curve_chart([Line("time between observations", numbers, error)], "episode", "error [%]")
        note = "Mean time between observations against the declared one [%]; above 0 is slower."
        cards.append(section("Clock", note, drift))
    return f'<div class="columns">{"".join(cards)}</div>'


def _plots(diagnosis: Diagnosis) -> str:
    chosen = _choose(diagnosis.findings)
    if not chosen:
        return ""
    reader = DatasetReader(Path(diagnosis.path))
    cards = []
    for finding in chosen:
        assert finding.episode is not None
        recorded, _ = reader.read(finding.episode)
        curves = _curves(recorded, finding)
        if curves:
            marked = [finding.frames] if finding.frames else []
            note = f"{place(finding)}: {finding.text}"
            cards.append(section(finding.fault, note, curve_chart(curves, "frame", "value", marked)))
    return f'<div class="columns">{"".join(cards)}</div>'


def _choose(findings: list[Finding]) -> list[Finding]:
    """Return findings with an episode: the first of every fault, then the second of every fault, ..."""
    by_fault: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.episode is not None:
            by_fault.setdefault(finding.fault, []).append(finding)
    ranks = range(max(map(len, by_fault.values()), default=0))
    turns = [group[rank] for rank in ranks[:PLOTS] for group in by_fault.values() if rank < len(group)]
    return turns[:PLOTS]


def _curves(recorded: Recorded, finding: Finding) -> list[Line]:
    """Return the curves that show a finding best."""
    spec = recorded.spec
    array = spec.action if finding.key == "action" else spec.obs.get(finding.key)
    key = finding.key
    if array is None and key not in ("timestamp", "reward"):
        key = next((name for name, known in spec.obs.items() if not is_image(known)), "action")
        array = {**spec.obs, "action": spec.action}[key]
    rows = recorded.arrays.get(key)
    if rows is None:
        return []
    if key == "timestamp":
        return [Line("time since the last observation [s]", range(1, len(rows)), np.diff(rows).tolist())]
    if array is None:
        return [Line(key, range(len(rows)), rows.astype(float).tolist())]
    if is_image(array):
        means = [float(frame.mean()) for frame in rows]
        return [Line(f"mean of {key} [of 255]", range(len(rows)), means)]
    values = rows.reshape(len(rows), -1).astype(np.float64)
    names = array.names or tuple(f"element {index}" for index in range(values.shape[1]))
    columns = _telling_columns(values, finding.frames)
    return [Line(names[column], range(len(rows)), values[:, column].tolist()) for column in columns]


def _telling_columns(values: np.ndarray, frames: tuple[int, int] | None) -> list[int]:
    """Return the columns that change most at the frames, for how much they change elsewhere."""
    steps = np.abs(np.diff(np.nan_to_num(values, nan=1e9, posinf=1e9, neginf=-1e9), axis=0))
    usual = np.median(steps, axis=0) + 1e-3
    first, last = frames or (0, len(values) - 1)
    near = steps[max(0, first - 1) : last + 1]
    score = near.max(0) / usual if len(near) else usual
    return np.argsort(-score, kind="stable")[:CURVES].tolist()


def _not_checked(diagnosis: Diagnosis) -> str:
    if not diagnosis.not_checked:
        return ""
    return section("Not checked", "", html_table(list(diagnosis.not_checked.items())))


def _all_findings(diagnosis: Diagnosis) -> str:
    if not diagnosis.findings:
        return ""
    rows = [(f.fault, place(f), f.text) for f in diagnosis.findings[:LISTED]]
    more = len(diagnosis.findings) - len(rows)
    note = f"{more} more are in the output of --json." if more else ""
    folded = f"<details><summary>{len(rows)} findings</summary>{html_table(rows)}</details>"
    return section("All findings", note, folded)
