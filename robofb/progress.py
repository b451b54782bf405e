"""Show how far long work has come: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import io
import logging
import sys
from typing import Any

from tqdm import tqdm

LOG = logging.getLogger(__name__)
LOG_EVERY_S = 30.0


class _LoggedBar(tqdm):
    """A bar that logs itself instead of drawing; work that ends before the first line logs nothing."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        state = self.format_dict
        rate = state["rate"] or (self.n - self.initial) / max(state["elapsed"], 1e-9)
        left = self.format_interval((self.total - self.n) / rate) if rate else "?"
        parts = [f"{self.desc}: {self.n} of {self.total} {self.unit}s", f"{left} left", self.postfix]
        LOG.info(", ".join(part for part in parts if part))
        return True


def progress_bar(total: int, what: str | None, unit: str, done: int = 0, delay_s: float = 0.0) -> tqdm:
    """Return a tqdm bar with the time left; it logs a line every `LOG_EVERY_S` where nobody looks.

    Args:
        total: units of work.
        what: name of the work, a few words; nothing is shown where None.
        unit: one unit of it, such as "episode".
        done: units that were done before.
        delay_s: draw nothing before this much time has passed.
    """
    settings: dict[str, Any] = {"total": total, "initial": done, "desc": what, "unit": unit, "leave": None}
    if what is None or sys.stderr.isatty():
        return tqdm(**settings, mininterval=0.5, delay=delay_s, disable=what is None)
    # An own file keeps the bar's last newline out of stderr; miniters=1 makes time alone decide.
    settings |= {"mininterval": LOG_EVERY_S, "delay": LOG_EVERY_S, "maxinterval": 2 * LOG_EVERY_S}
    return _LoggedBar(**settings, miniters=1, file=io.StringIO())
