"""How long a key pressed on the teleoperation page takes to move the arm's set-point.

python benchmarks/teleop_latency.py [--presses 60] [--rate 10 100]

A headless Chromium presses a key while the dead-man switch is held; a loop reads commands at the
session's rate and integrates them into a set-point. Measured on one machine: from the browser's own time
of the key event to the loop's reading of it, and to the set-point's first change. The wait for the next
read is part of it, so both a task's rate and a controller's are measured.
"""

from __future__ import annotations

import argparse
import shutil
import threading
import time
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
LEAST_PRESSES = 50


class Session(threading.Thread):
    """Read commands at a rate and move a set-point by them; note when each motion began."""

    def __init__(self, teleop: WebTeleop, rate_hz: float) -> None:
        super().__init__(daemon=True)
        self.teleop, self.period_s = teleop, 1.0 / rate_hz
        self.setpoint_m = np.zeros(3)
        self.read_s = self.moved_s = 0.0  # of the motion's first command, on the wall clock
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
            return
        read_s, before_m = time.time(), self.setpoint_m.copy()
        self.setpoint_m += command.twist[:3] * self.period_s
        moving = bool((self.setpoint_m != before_m).any())
        if moving and not self.moving:
            self.read_s, self.moved_s = read_s, time.time()
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


def measure_rate(chromium: Any, rate_hz: float, presses: int) -> dict[str, float]:
    """Measure with a session of its own at a rate."""
    with closing(WebTeleop(port=0, control_dt_s=1.0 / rate_hz)) as teleop:
        teleop.connect()
        session = Session(teleop, rate_hz)
        page = chromium.new_page()
        page.add_init_script(LISTEN)
        page.goto(teleop.url)
        page.wait_for_selector("#link.on")
        session.start()
        figures = measure(page, session, presses)
        session.stopping.set()
        session.join()
        page.close()
    return figures


def main() -> None:
    """Measure at each rate, print a line each, then one JSON line."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presses", type=int, default=60)
    parser.add_argument("--rate", type=float, nargs="+", default=[10.0, 100.0])
    args = parser.parse_args()
    if args.presses < LEAST_PRESSES:
        parser.error(f"--presses {args.presses}: needs at least {LEAST_PRESSES}")
    figures: dict[str, Any] = {"presses": args.presses}
    with sync_playwright() as playwright:
        executable = shutil.which("chromium") or shutil.which("google-chrome")
        chromium = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        for rate_hz in args.rate:
            figures[f"at_{rate_hz:g}_hz"] = measure_rate(chromium, rate_hz, args.presses)
            print(rate_hz, figures[f"at_{rate_hz:g}_hz"])
        chromium.close()
    save_result("teleop_latency", figures)


if __name__ == "__main__":
    main()
