"""How long a key on the teleoperation page takes to move the arm's set-point, and a closed page to stop it.

python benchmarks/teleop_latency.py [--presses 60] [--closes 25] [--rate 10 100]

A headless Chromium presses a key while the dead-man switch is held; a loop reads commands at the
session's rate and integrates them into a set-point. Measured on one machine: from the browser's own time
of the key event to the loop's reading of it, and to the set-point's first change. The wait for the next
read is part of it, so both a task's rate and a controller's are measured.

Then pages are closed while they drive, by closing the tab and by kill -9 of the browser: measured from just
before that to the loop's last command that moves the set-point, 0 where none came after it. The arm carries
that one out for one period of the rate.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
from results import save_result

from robofb.deploy.teleop.web import WebTeleop
from robofb.errors import DeviceLostError

FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--disable-background-networking"]
LISTEN = """window.pressedMs = 0; addEventListener("keydown", (event) => {
    if (event.code === "KeyW" && !event.repeat) window.pressedMs = performance.timeOrigin + event.timeStamp;
}, true);"""
LEAST_PRESSES, LEAST_CLOSES = 50, 20
SETTLE_S = 1.5  # after a close: whatever still moves by then is counted


class Session(threading.Thread):
    """Read commands at a rate and move a set-point by them; note when each motion began."""

    def __init__(self, teleop: WebTeleop, rate_hz: float) -> None:
        super().__init__(daemon=True)
        self.teleop, self.period_s = teleop, 1.0 / rate_hz
        self.setpoint_m = np.zeros(3)
        self.read_s = self.moved_s = 0.0  # of the motion's first command, on the wall clock
        self.last_moved_s = 0.0
        self.engaged = self.moving = False
        self.stopping = threading.Event()

    def run(self) -> None:
        """Read and move until told to stop, without catching up after late wake-ups."""
        due_s = time.monotonic()
        while not self.stopping.is_set():
            self._step()
            due_s = max(due_s + self.period_s, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _step(self) -> None:
        try:
            command = self.teleop.read()
        except DeviceLostError:
            self.engaged = self.moving = False
            return
        read_s, before_m = time.time(), self.setpoint_m.copy()
        self.setpoint_m += command.twist[:3] * self.period_s
        moving = bool((self.setpoint_m != before_m).any())
        if moving and not self.moving:
            self.read_s, self.moved_s = read_s, time.time()
        if moving:
            self.last_moved_s = time.time()
        self.engaged, self.moving = command.engaged, moving


def wait_for(session: Session, engaged: bool, moving: bool) -> None:
    """Wait until the session is in a state, ten seconds at most."""
    end = time.monotonic() + 10
    while (session.engaged, session.moving) != (engaged, moving):
        if time.monotonic() > end:
            raise TimeoutError(f"engaged={engaged} moving={moving} never came")
        time.sleep(0.001)


def measure(page: Any, session: Session, presses: int) -> dict[str, float]:
    """Press a key again and again; return milliseconds from the key event."""
    rng = np.random.default_rng(0)
    page.keyboard.down("Space")
    wait_for(session, True, False)
    to_read_ms, to_motion_ms = [], []
    for _ in range(presses):
        time.sleep(rng.uniform(0.02, 0.15))  # anywhere between two reads
        page.keyboard.down("KeyW")
        wait_for(session, True, True)
        pressed_s = page.evaluate("window.pressedMs") / 1e3
        to_read_ms.append(1e3 * (session.read_s - pressed_s))
        to_motion_ms.append(1e3 * (session.moved_s - pressed_s))
        page.keyboard.up("KeyW")
        wait_for(session, True, False)
    page.keyboard.up("Space")
    return {
        "key_to_read_ms_median": float(np.median(to_read_ms)),
        "key_to_motion_ms_median": float(np.median(to_motion_ms)),
        "key_to_motion_ms_p95": float(np.percentile(to_motion_ms, 95)),
        "key_to_motion_ms_max": float(np.max(to_motion_ms)),
    }


Driver = tuple[Any, Callable[[], object]]
"""A page, and what ends it."""


def open_page(chromium: Any, url: str, script: str = "") -> Any:
    """Open the teleoperation page and wait until it is connected."""
    page = chromium.new_page()
    page.add_init_script(script)
    page.goto(url)
    page.wait_for_selector("#link.on")
    return page


def in_tab(chromium: Any, url: str) -> Driver:
    """Return a page in a tab, and the closing of that tab."""
    page = open_page(chromium, url)
    return page, page.close


def in_own_browser(launch: Callable[[], Any], url: str) -> Driver:
    """Return a page in a browser of its own, and the killing of that browser."""
    chromium = launch()
    processes = chromium.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    browser = next(process["id"] for process in processes if process["type"] == "browser")
    return open_page(chromium, url), lambda: os.kill(browser, signal.SIGKILL)


def measure_stops(session: Session, closes: int, begin: Callable[[], Driver]) -> dict[str, float]:
    """End pages that drive, again and again; return milliseconds to the last command that moves."""
    rng = np.random.default_rng(0)
    stopped_ms: list[float] = []
    while len(stopped_ms) < closes:
        page, end = begin()
        page.keyboard.down("Space")
        wait_for(session, True, False)
        page.keyboard.down("KeyW")
        wait_for(session, True, True)
        time.sleep(rng.uniform(0.1, 0.3))  # anywhere between two reads
        is_moving, closed_s = session.moving, time.time()
        end()
        time.sleep(SETTLE_S)
        if is_moving:  # a busy machine may have held the page up just then
            stopped_ms.append(1e3 * max(0.0, session.last_moved_s - closed_s))
    return {
        "median": float(np.median(stopped_ms)),
        "p95": float(np.percentile(stopped_ms, 95)),
        "max": float(np.max(stopped_ms)),
    }


def measure_rate(launch: Callable[[], Any], rate_hz: float, presses: int, closes: int) -> dict[str, Any]:
    """Measure with a session of its own at a rate."""
    with closing(WebTeleop(port=0, control_dt_s=1.0 / rate_hz)) as teleop, closing(launch()) as chromium:
        teleop.connect()
        session = Session(teleop, rate_hz)
        session.start()
        page = open_page(chromium, teleop.url, LISTEN)
        figures: dict[str, Any] = dict(measure(page, session, presses))
        page.close()
        tab = measure_stops(session, closes, lambda: in_tab(chromium, teleop.url))
        killed = measure_stops(session, closes, lambda: in_own_browser(launch, teleop.url))
        session.stopping.set()
        session.join()
    return {**figures, "stop_after_close_ms": tab, "stop_after_kill_ms": killed}


def main() -> None:
    """Measure at each rate, print a line each, then one JSON line."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presses", type=int, default=60)
    parser.add_argument("--closes", type=int, default=25)
    parser.add_argument("--rate", type=float, nargs="+", default=[10.0, 100.0])
    args = parser.parse_args()
    for name, least in (("presses", LEAST_PRESSES), ("closes", LEAST_CLOSES)):
        if getattr(args, name) < least:
            parser.error(f"--{name} {getattr(args, name)}: needs at least {least}")
    figures: dict[str, Any] = {"presses": args.presses, "closes": args.closes}
    figures["load_average_before"] = round(os.getloadavg()[0], 2)
    with sync_playwright() as playwright:
        executable = shutil.which("chromium") or shutil.which("google-chrome")

        def launch() -> Any:
            return playwright.chromium.launch(executable_path=executable, args=FLAGS)

        for rate_hz in args.rate:
            figures[f"at_{rate_hz:g}_hz"] = measure_rate(launch, rate_hz, args.presses, args.closes)
            print(rate_hz, figures[f"at_{rate_hz:g}_hz"])
    figures["load_average_after"] = round(os.getloadavg()[0], 2)
    save_result("teleop_latency", figures)


if __name__ == "__main__":
    main()
