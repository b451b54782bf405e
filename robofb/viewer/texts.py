"""What the viewer says about an episode, as HTML. All that comes from a dataset is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from robofb.store.bottlenecks import BOTTLENECKS
from robofb.types import SOURCE_NAMES
from robofb.viewer.session import Session
from robofb.viewer.timeline import SOURCE_COLOURS

_BOX = '<div style="font:12px sans-serif;padding:4px 12px;overflow-wrap:anywhere">{}</div>'


def message_html(text: str) -> str:
    """Return one line for the person, or nothing."""
    return _BOX.format(f'<b style="color:#b45309">{escape(text)}</b>') if text else ""


def status_html(session: Session) -> str:
    """Return where the viewer stands: episode, outcome, step, time, and who acts next."""
    episode, player = session.episode, session.player
    outcome = '<b style="color:#16a34a">success</b>' if episode.success else "<b>no success</b>"
    ended = "ended by itself" if episode.terminated else "out of time"
    if player.step < len(episode):
        flag = int(episode.source[player.step])
        acts = f'<span style="color:{SOURCE_COLOURS[flag]}">●</span> {SOURCE_NAMES[flag]} acts'
    else:
        acts = "the end"
    lines = [
        f"<b>{escape(session.store.spec.task)}</b> · episode {session.number} of {len(session.store)} · "
        f"{outcome}, {ended}",
        f"step <b>{player.step}</b> of {player.last} · {player.time_s:.2f} s · {acts}",
    ]
    return _BOX.format("<br>".join(lines))


def marks_html(session: Session) -> str:
    """Return the list of bottlenecks, and which episodes are unsaved."""
    rows = [
        f"{'▶ ' if mark.step == session.player.step else ''}step {mark.step}: {escape(mark.why)} "
        f'<span style="color:#6b7280">({mark.by})</span>'
        for mark in session.marks
    ]
    unsaved = ", ".join(map(str, session.unsaved))
    if unsaved:
        rows.append(f'<b style="color:#b45309">not saved: episode {unsaved}</b>')
    return _BOX.format("<br>".join(rows or ["no bottlenecks marked"]))


def facts_html(meta: Mapping[str, Any]) -> str:
    """Return an episode's facts, one a line."""
    rows = [f"{escape(name)}: {escape(str(value))}" for name, value in _leaves(meta) if value is not None]
    return _BOX.format("<br>".join(rows or ["no facts recorded"]))


def _leaves(meta: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in meta.items():
        if prefix + key == BOTTLENECKS:
            continue
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key} ")
        else:
            yield prefix + key, value
