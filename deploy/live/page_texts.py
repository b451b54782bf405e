"""What a deployment's page says, as HTML. All that comes from processes is escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from robofb.deploy.live.lookout import Sight
from robofb.deploy.live.records import MODES, said
from robofb.deploy.modes import Mode

GOOD, WARNING, BAD, QUIET = "#16a34a", "#b45309", "#dc2626", "#6b7280"
MODE_COLOURS = {
    Mode.DISARMED: QUIET,
    Mode.HOMING: "#2563eb",
    Mode.READY: "#0d9488",
    Mode.POLICY: GOOD,
    Mode.HUMAN: "#9333ea",
    Mode.HOLD: WARNING,
    Mode.STOPPING: BAD,
    Mode.FAULT: BAD,
}
OLD_S = 0.5  # age from which what is shown is marked as old
NO_SAFETY = (
    "This stop brakes by software. It is no safety function: keep the arm's emergency stop at hand. "
    "Buttons are clicked; no key stops the arm here."
)
_BOX = '<div style="font:13px sans-serif;padding:4px 12px;overflow-wrap:anywhere">{}</div>'


def boxed(*lines: str) -> str:
    """Return lines of HTML in the page's own look."""
    return _BOX.format("<br>".join(lines))


def coloured(text: str, colour: str) -> str:
    """Return text in a colour, bold."""
    return f'<b style="color:{colour}">{escape(text)}</b>'


def age(age_s: float, old_s: float = OLD_S) -> str:
    """Return an age in words, red where it is old."""
    text = f"{age_s:.1f} s old"
    return text if age_s <= old_s else coloured(text if math.isfinite(age_s) else "nothing new yet", BAD)


def milliseconds(time_s: float) -> str:
    """Return a time, a dash where it is not known."""
    return f"{1e3 * time_s:.1f} ms" if math.isfinite(time_s) else "–"


def status_html(status: Mapping[str, str], sight: Sight, clock: str) -> str:
    """Return how it stands: mode, why, episode, and whether this is of now.

    Args:
        status: as an operator is shown it; empty before the first.
        sight: of the rings.
        clock: time of the day at which this is written.
    """
    if sight.tick is None:
        return boxed(coloured("starting", QUIET), f"at {clock}")
    mode = MODES[int(sight.tick["mode"])]
    badge = (
        f'<span style="font:bold 22px sans-serif;color:white;background:{MODE_COLOURS[mode]};'
        f'padding:2px 12px;border-radius:4px">{mode.value.upper()}</span>'
    )
    return boxed(
        f'<div style="padding:4px 0">{badge}</div>{escape(said(bytes(sight.tick["reason"])))}',
        f"<b>{escape(status.get('session', ''))}</b> · episode {escape(status.get('episode', ''))} · "
        f"{int(sight.tick['steps'])} steps",
        f"successes: <b>{escape(status.get('successes', ''))}</b>",
        f"the arm said so at {clock}, {age(sight.age_s)}",
    )


def figures_html(status: Mapping[str, str], sight: Sight) -> str:
    """Return the figures of gate, loop, plans, processes and recordings."""
    if sight.tick is None:
        return ""
    passed, clamped, refused = (int(count) for count in sight.tick["gate"])
    counts = ", ".join(f"{escape(name)} {count}" for name, count in sorted(sight.counts.items()))
    planned = f"{sight.plan_age_s:.2f} s" if math.isfinite(sight.plan_age_s) else "none"
    lines = {
        "gate": f"{passed} passed, {clamped} clamped, {refused} refused",
        "counts": counts or "–",
        "loop": f"computes {milliseconds(sight.compute_s)}, at most {milliseconds(sight.most_compute_s)}; "
        f"longest period {milliseconds(sight.period_s)} (last second)",
        "policy": f"newest plan took {milliseconds(sight.planning_s)}; age of the one followed: {planned}",
        "started again": escape(status.get("restarts", "")) or "nothing",
        "recorded": escape(status.get("recorded", "")) or "–",
        "not recorded": _marked(status.get("dropped", "")),
    }
    return boxed(*(f"<b>{name}</b>: {text}" for name, text in lines.items()))


def picture_html(age_s: float) -> str:
    """Return what stands under a camera's picture."""
    return boxed(age(age_s))


def _marked(dropped: str) -> str:
    return coloured(dropped, WARNING) if dropped else "–"
