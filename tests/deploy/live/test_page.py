"""The page of a deployment: what its buttons say, what it shows, and a session driven from a browser."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from chromium import opened
from live_parts import HZ, SPEC, SaidCameraSetup, line_parts, num_stops, sent_to
from motion_bounds import assert_within

pytest.importorskip("viser")

import viser
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from robofb.deploy.limits import Limits
from robofb.deploy.live import deployment
from robofb.deploy.live.conductor import EVENTS, Conductor
from robofb.deploy.live.device_processes import CameraSetup
from robofb.deploy.live.operators import Several
from robofb.deploy.live.page import Page
from robofb.deploy.live.page_scene import PLANNED, box_edges
from robofb.deploy.live.policy_process import write_plan
from robofb.deploy.live.records import MODES, Rings, row_of
from robofb.deploy.live.session import LiveSession, Outcome
from robofb.deploy.modes import Mode
from robofb.deploy.pose import Pose
from robofb.deploy.run_policy import DeployConfig
from robofb.errors import UserError

PATIENCE_S = 90.0
HEIGHT, WIDTH = 48, 64  # of a `SaidCamera`
BRIGHTEST = """([width, height]) => {
    const own = image => image.naturalWidth === width && image.naturalHeight === height;
    const shown = [...document.querySelectorAll("img")].find(own);
    if (!shown) return -1;
    const canvas = Object.assign(document.createElement("canvas"), {width, height});
    const context = canvas.getContext("2d");
    context.drawImage(shown, 0, 0);
    return Math.max(...context.getImageData(0, 0, width, height).data.filter((_, index) => index % 4 < 3));
}"""  # of the camera's picture as the browser shows it; it is black at first
BETWEEN_PANELS = {"x": 390, "y": 200, "width": 220, "height": 490}  # where the scene is drawn


@pytest.fixture
def page() -> Iterator[Page]:
    with closing(Page()) as made:
        made.open()
        yield made


def until(happened: Callable[[], Any], view: Any = None) -> None:
    """Wait until something happened."""
    end_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end_s, view and view.inner_text("body")
        time.sleep(0.02)


def test_every_button_says_its_event_once(page: Page) -> None:
    assert set(page.buttons) == set(EVENTS)
    assert page.events() == []
    for event, button in page.buttons.items():
        button.value = True  # as viser does for a click
        assert page.events() == [event]
        assert page.events() == []


def test_beside_a_stop_nothing_else_was_said(page: Page) -> None:
    page.buttons["start"].value = page.buttons["success"].value = True
    assert page.events() == ["start", "success"]
    for button in page.buttons.values():
        button.value = True
    assert page.events() == ["stop"]
    assert page.events() == []


@pytest.mark.parametrize(("given", "host"), [((), "127.0.0.1"), (("127.0.0.2",), "127.0.0.2")])
def test_the_address_is_printed_once_and_is_this_machines_alone_unless_said(
    capsys: pytest.CaptureFixture[str], given: tuple[str, ...], host: str
) -> None:
    page = Page(*given)
    page.open()
    assert page.url.startswith(f"http://{host}:") and page.server.get_host() == host
    assert capsys.readouterr().out == f"{page.url} shows this deployment, and has its buttons\n"
    page.close()
    page.close()
    assert page.url == "" and page.events() == []


@pytest.mark.parametrize("site", ["http://evil.example", "http://127.0.0.1.evil.example:{port}"])
def test_other_sites_in_the_same_browser_cannot_press_buttons(page: Page, site: str) -> None:
    port = page.server.get_port()
    address, version = f"ws://127.0.0.1:{port}", [f"viser-v{viser.__version__}"]
    with pytest.raises(InvalidStatus, match="403"):
        connect(address, origin=site.format(port=port), subprotocols=version)  # type: ignore[arg-type]
    with connect(address, origin=f"http://localhost:{port}", subprotocols=version) as own:  # type: ignore[arg-type]
        assert own.recv()


def test_an_address_that_is_not_ours_and_a_missing_viser_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Page("203.0.113.7")) as page, pytest.raises(UserError, match=r"host 203\.0\.113\.7"):
        page.open()
    with closing(Page(port=70000)) as page, pytest.raises(UserError, match="port=70000"):
        page.open()
    for name in ("viser", "websockets.asyncio"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with closing(Page()) as page, pytest.raises(UserError, match=r"robofb\[view\]"):
                page.open()


def test_all_that_is_seen_is_shown_where_it_is(page: Page, tmp_path: Path) -> None:
    parts = line_parts(tmp_path, cameras={"front": CameraSetup("front", {}, 4, 6)})
    with closing(Rings(3, {"front": (4, 6)}, ["arm"])) as rings:
        page.attach(rings.addresses, parts)
        node = page.server.scene.get_handle_by_name
        until(lambda: "starting" in page.texts["status"].content)
        assert not node("/tool").visible and not node("/plan").visible  # type: ignore[union-attr]
        tick = dict.fromkeys(rings.ticks.dtype.names or (), 0)
        measured, wanted = Pose((0.5, 0.1, 0.2), (0.0, 1.0, 0.0, 0.0)), Pose((0.5, 0.2, 0.2), (1.0, 0, 0, 0))
        tick |= {
            "wall_s": time.monotonic(),
            "mode": MODES.index(Mode.POLICY),
            "observed_s": 7.0,
            "reason": b"run",
        }
        tick |= {"pose": row_of(measured, 1.0), "sent": row_of(wanted, 1.0)}
        write_plan(rings.plans, 0, 7.0, np.arange(30, dtype=np.float32).reshape(3, 10), 0.01)
        rings.frames["front"].write(
            sequence=1, captured_s=time.monotonic(), digest=1, image=np.full((3, 4, 6), 9)
        )
        rings.ticks.write(**tick)
        page.show({"session": "running", "episode": "0 of 2"})
        until(lambda: "POLICY" in page.texts["status"].content and "0 of 2" in page.texts["status"].content)
        assert node("/tool").visible and node("/set_point").visible  # type: ignore[union-attr]
        np.testing.assert_allclose(node("/tool").position, measured.position_m)  # type: ignore[union-attr]
        np.testing.assert_allclose(node("/tool").wxyz, measured.turn)  # type: ignore[union-attr]
        np.testing.assert_allclose(node("/set_point").position, wanted.position_m)  # type: ignore[union-attr]
        plan: Any = node("/plan")
        assert plan.points.tolist() == [[[0, 1, 2], [10, 11, 12]], [[10, 11, 12], [20, 21, 22]]]
        image, said = page.pictures["front"]
        until(lambda: (image.image == 9).all() and "s old" in said.content)
        rings.ticks.write(**(tick | {"pose": row_of(None, 0.0), "observed_s": np.nan}))
        until(lambda: not node("/tool").visible and not plan.visible)  # type: ignore[union-attr]
    page.close()  # the rings are gone already


def test_a_box_has_twelve_edges() -> None:
    edges = box_edges(np.array([0.0, 0.0, 0.0]), np.array([1.0, 2.0, 4.0]))
    lengths = np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1)
    assert sorted(lengths.tolist()) == [1.0] * 4 + [2.0] * 4 + [4.0] * 4
    assert len(np.unique(edges.reshape(12, 6), axis=0)) == 12


class Voice:
    """An operator that says one thing, and writes down what happens to it."""

    def __init__(self, word: str, broken: bool = False) -> None:
        self.word, self.broken, self.did = word, broken, [""]

    def open(self) -> None:
        self.did.append("open")
        if self.broken:
            raise UserError("told to")

    def attach(self, addresses: Any, parts: Any) -> None:
        self.did.append(f"attach {addresses} {parts}")

    def events(self) -> list[str]:
        return [self.word]

    def show(self, status: Any) -> None:
        self.did.append(f"show {status['arm']}")

    def close(self) -> None:
        self.did.append("close")


def test_several_are_heard_shown_and_closed_together() -> None:
    voices = Voice("stop"), Voice("start")
    several: Any = Several(voices)
    several.open()
    several.attach(1, 2)
    several.show({"arm": "hold"})
    assert several.events() == ["stop", "start"]
    several.close()
    several.close()
    assert all(voice.did == ["", "open", "attach 1 2", "show hold", "close"] for voice in voices)


def test_where_one_cannot_be_opened_those_before_it_are_closed() -> None:
    first, second, third = Voice("stop"), Voice("stop", broken=True), Voice("stop")
    with pytest.raises(UserError), closing(Several([first, second, third])) as several:
        several.open()
    assert first.did[-1] == second.did[-1] == "close" and third.did == [""]


def test_a_deployment_with_a_page_needs_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    heard: list[Any] = []

    class Session:
        def __init__(self, parts: object, conductor: Conductor, operator: Several) -> None:
            self.operator = operator

        def run(self) -> Outcome:
            heard.append(self.operator.events())
            return Outcome([])

    monkeypatch.setattr(deployment, "LiveSession", Session)
    monkeypatch.setattr(deployment, "parts_of", lambda *_: SimpleNamespace(recorder=None))
    cfg = DeployConfig(run="x", attended=True, page=True, page_host="127.0.0.2")
    assert deployment.run_live(cfg, tmp_path, SPEC) == ([], [], [], {})
    assert heard == [[]] and capsys.readouterr().out.startswith("http://127.0.0.2:")
    with pytest.raises(UserError, match="page=true"):
        deployment.run_live(DeployConfig(run="x", attended=True), tmp_path, SPEC)


@pytest.fixture
def browser() -> Iterator[Any]:
    with opened() as chromium:
        yield chromium.new_page(viewport={"width": 1000, "height": 700})


def num_like(colour: tuple[int, int, int], png: bytes) -> int:
    """Return how many pixels of a picture have nearly a colour."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    return int((np.abs(image - np.array(colour)).max(-1) < 30).sum())


@pytest.mark.slow
def test_a_person_stops_goes_on_and_leaves_in_the_browser(browser: Any, page: Page, tmp_path: Path) -> None:
    """What is seen is drawn there: the plan, what the camera shows, the gate's figures.

    STOP is pressed at the arm's full way: it brakes within limits, gets nothing more, and goes on when told.
    """
    cameras = {"front": SaidCameraSetup("front", {}, HEIGHT, WIDTH, folder=tmp_path)}
    parts = line_parts(tmp_path, cameras=cameras)
    watch = replace(parts.arm.watch, frozen_s=PATIENCE_S)  # beside a browser a camera may be late
    parts = replace(parts, arm=replace(parts.arm, watch=watch))
    conductor = Conductor(3, 3, attended=True, max_steps=100_000, abort_s=PATIENCE_S)
    session = LiveSession(parts, conductor, page)
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(session.run()))
    thread.start()

    def shows(*words: str) -> Callable[[], bool]:
        return lambda: all(word in browser.inner_text("body") for word in words)

    def press(name: str) -> None:
        """Click without waiting for the picture, which software draws slowly, to stand still."""
        browser.get_by_role("button", name=name).dispatch_event("click")

    try:
        browser.goto(page.url)
        until(shows("DISARMED", "waiting for a start"), browser)
        box = browser.get_by_role("button", name="STOP").bounding_box()
        assert box["height"] >= 80 and box["y"] < 100  # large, and at the top
        press("Go")
        until(shows("POLICY", "episode 0 of 3"), browser)
        until(lambda: len(sent_to(tmp_path)) > 50)
        until(lambda: browser.evaluate(BRIGHTEST, [WIDTH, HEIGHT]) > 200, browser)
        until(
            lambda: re.search(r"gate: [1-9]\d* passed, \d+ clamped, \d+ refused", browser.inner_text("body"))
        )
        until(lambda: num_like(PLANNED, browser.screenshot(clip=BETWEEN_PANELS)) > 10)
        press("STOP")
        until(shows("FAULT", "waiting for a start"), browser)
        sent = sent_to(tmp_path)
        assert num_stops(tmp_path) == 1 and np.isnan(sent["wall_s"][-1])  # the last that it got
        moving = sent["position"][:-1]
        np.testing.assert_allclose(moving[-1], moving[-2], atol=1e-4)  # at rest
        assert_within(
            [Pose(tuple(row["position"]), tuple(row["turn"])) for row in sent[:-1]], Limits(), 1 / HZ
        )
        time.sleep(0.5)
        assert len(sent_to(tmp_path)) == len(sent)  # and nothing was sent since
        press("Go")
        until(shows("POLICY", "episode 1 of 3", "0 of 1"), browser)
        browser.close()  # which changes nothing
        before = len(sent_to(tmp_path))
        until(lambda: len(sent_to(tmp_path)) > before + 50)
        assert not outcomes and session.conductor.number == 1
    finally:
        page.buttons["quit"].value = True
        thread.join()
    assert [(each.label, each.why) for each in outcomes[0].ended] == [
        ("aborted", "stop"),
        ("aborted", "a person ended the session"),
    ]
