"""How long STOP on a deployment's page takes to brake the arm.

python benchmarks/deploy_stop.py [--stops 50] [--hz 100] [--cameras 0] [--no-save]

A real session of processes with a policy that drives to and fro, an ideal arm, and the page in a headless
Chromium, where STOP is clicked by the mouse at random times. Measured on one machine: from the browser's own
time of the click to the first set-point of the brake that the arm gets, both waits for the next look and the
next set-point included. With cameras the page shows their pictures too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from results import save_result

from robofb.deploy.live.conductor import Conductor
from robofb.deploy.live.device_processes import CameraSetup
from robofb.deploy.live.fake import line_parts, sent_to
from robofb.deploy.live.operators import Nobody, Several
from robofb.deploy.live.page import Page
from robofb.deploy.live.records import MODES, Addresses
from robofb.deploy.live.session import LiveSession, Parts
from robofb.deploy.modes import Mode
from robofb.deploy.ring import Ring

FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--disable-background-networking"]
LISTEN = """window.clickedMs = 0; addEventListener("click", (event) => {
    window.clickedMs = performance.timeOrigin + event.timeStamp;
}, true);"""
LEAST_STOPS = 20
PATIENCE_S = 60.0
_STOPPING = MODES.index(Mode.STOPPING)


class Goer(Nobody):
    """Beside the page: lets the arm go on when told to, and notes when the controller began to brake.

    Attributes:
        goes: whether to say so.
        mode: what the arm does.
        braked_s: when the newest brake's first tick began, by `time.monotonic`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.goes, self.mode, self.braked_s = False, "", 0.0
        self._number, self._braking = 0, False

    def attach(self, addresses: Addresses, parts: Parts) -> None:
        """Look at the ticks."""
        self._ticks = Ring.attach(addresses.ticks)

    def events(self) -> list[str]:
        """Say go until the policy drives."""
        for number, tick in self._ticks.since(self._number):
            self._number = number
            if (braking := int(tick["mode"]) == _STOPPING) and not self._braking:
                self.braked_s = float(tick["wall_s"])
            self._braking = braking
        return ["start"] if self.goes and self.mode != Mode.POLICY.value else []

    def show(self, status: Mapping[str, str]) -> None:
        """Note what the arm does."""
        self.mode = status["arm"]

    def has_braked_since(self, braked_s: float) -> bool:
        """Return whether there was a brake after the one of that time."""
        return self.braked_s > braked_s

    def close(self) -> None:
        """Look no longer."""
        self._ticks.close()


def wait_for(happened: Callable[[], Any]) -> None:
    """Wait until something happened, a minute at most."""
    end_s = time.monotonic() + PATIENCE_S
    while not happened():
        if time.monotonic() > end_s:
            raise TimeoutError("it did not come to that")
        time.sleep(0.005)


def stopped_ms(view: Any, goer: Goer, folder: Path, stops: int) -> list[float]:
    """Click STOP again and again while the policy drives; return from each click to the brake."""
    rng = np.random.default_rng(0)
    box = view.get_by_role("button", name="STOP").bounding_box()
    found: list[float] = []
    for _ in range(stops):
        goer.goes = True
        wait_for(lambda: goer.mode == Mode.POLICY.value)
        goer.goes = False
        time.sleep(rng.uniform(1.0, 1.5))  # it is under way, anywhere between two looks
        before_s = goer.braked_s
        view.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        wait_for(partial(goer.has_braked_since, before_s))
        clicked_s = view.evaluate("window.clickedMs") / 1e3 - (time.time() - time.monotonic())
        sent_s = sent_to(folder)["wall_s"]
        braking_s = sent_s[sent_s >= goer.braked_s]  # NaN, where it was stopped, is no such time
        found.append(1e3 * (float(braking_s[0]) - clicked_s))
        wait_for(lambda: goer.mode == Mode.FAULT.value)
    return found


def measure(launch: Callable[[], Any], hz: float, cameras: int, stops: int) -> list[float]:
    """Return the milliseconds of each stop of a session."""
    camera = {"_target_": "robofb.deploy.cameras.synthetic.SyntheticCamera", "height": 240, "width": 320}
    names = [f"camera{number}" for number in range(cameras)]
    setups = {name: CameraSetup(name, camera, 240, 320) for name in names}
    goer, page = Goer(), Page()
    with tempfile.TemporaryDirectory() as name, closing(Several([page, goer])) as operator:
        operator.open()
        parts = line_parts(Path(name), hz=hz, cameras=setups)
        conductor = Conductor(stops + 1, 0, attended=True, max_steps=1_000_000)
        thread = threading.Thread(target=LiveSession(parts, conductor, operator).run)
        thread.start()
        try:
            with closing(launch()) as chromium:
                view = chromium.new_page(viewport={"width": 1000, "height": 700})
                view.add_init_script(LISTEN)
                view.goto(page.url)
                view.get_by_text("waiting for a start").first.wait_for(timeout=1000 * PATIENCE_S)
                return stopped_ms(view, goer, Path(name), stops)
        finally:
            page.buttons["quit"].value = True
            thread.join()


def main() -> None:
    """Measure, print and save."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stops", type=int, default=50)
    parser.add_argument("--hz", type=float, default=100.0, help="set-points a second")
    parser.add_argument("--cameras", type=int, default=0, help="whose pictures the page shows")
    parser.add_argument("--no-save", action="store_true", help="leave results as they are")
    args = parser.parse_args()
    if args.stops < LEAST_STOPS:
        parser.error(f"--stops {args.stops}: needs at least {LEAST_STOPS}")
    load_before = round(os.getloadavg()[0], 2)
    with sync_playwright() as playwright:
        executable = shutil.which("chromium") or shutil.which("google-chrome")
        found = measure(
            lambda: playwright.chromium.launch(executable_path=executable, args=FLAGS),
            args.hz,
            args.cameras,
            args.stops,
        )
    figures = {
        "stops": args.stops,
        "set_points_a_second": args.hz,
        "cameras": args.cameras,
        "click_to_brake_ms_median": float(np.median(found)),
        "click_to_brake_ms_p95": float(np.percentile(found, 95)),
        "click_to_brake_ms_max": max(found),
        "load_average_before": load_before,
        "load_average_after": round(os.getloadavg()[0], 2),
    }
    print(
        f"click to brake: median {figures['click_to_brake_ms_median']:.0f} ms, "
        f"p95 {figures['click_to_brake_ms_p95']:.0f}, worst {figures['click_to_brake_ms_max']:.0f}"
    )
    if not args.no_save:
        save_result("deploy_stop", figures)


if __name__ == "__main__":
    main()
