"""The page in a real browser, driving the simulated arm."""

import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from chromium import opened
from page_clients import PATIENCE_S, read_until

from robofb.deploy.teleop.web import WebTeleop
from robofb.envs import make_task
from robofb.errors import DeviceLostError
from robofb.geometry import matrix_to_rot6d, rot6d_to_matrix, rotvec_to_matrix
from robofb.sim.vec_env import SimVecEnv

FAKE_XR = (Path(__file__).parent / "fake_xr.js").read_text()


@pytest.fixture(scope="module")
def browser():
    with opened() as chromium:
        yield chromium


@pytest.fixture
def teleop():
    with closing(WebTeleop(port=0)) as device:
        device.connect()
        yield device


@pytest.fixture
def page(browser, teleop):
    page = open_page(browser, teleop)
    yield page
    page.context.close()


def wait_until(page, expression):
    """Wait until an expression holds in the page; playwright's own way needs eval, which the page forbids."""
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        time.sleep(0.02)


def open_page(browser, teleop, script="", query="on"):
    page = browser.new_context(viewport={"width": 1100, "height": 900}).new_page()
    page.set_default_timeout(1e3 * PATIENCE_S)
    if script:
        page.add_init_script(script)
    page.goto(teleop.url)
    page.wait_for_selector(f"#link.{query}" if query else "#link")
    return page


class Arm:
    """The simulated task with one arm, which twists move."""

    def __init__(self) -> None:
        self.env = SimVecEnv(make_task("one_leg_insert"), 1, autoreset=False)
        state = self.env.reset(0)["state"][0].double()
        self.target_m, self.rotation = state[:3].clone(), rot6d_to_matrix(state[3:9])
        self.state, self.closed = state, -1.0

    def step(self, command) -> None:
        """Apply a command for one control step."""
        twist = self.env.spec.control_dt * torch.from_numpy(command.twist)
        self.target_m = self.target_m + twist[:3]
        self.rotation = rotvec_to_matrix(twist[3:]) @ self.rotation
        self.closed = command.gripper or self.closed
        action = torch.cat([self.target_m, matrix_to_rot6d(self.rotation), torch.tensor([self.closed])])
        self.state = self.env.step(action.float()[None]).obs["state"][0].double()

    def close(self) -> None:
        self.env.close()


@pytest.fixture
def arm():
    with closing(Arm()) as one:
        yield one


def drive(page, teleop, arm, steps):
    """Step the arm in real time until `steps` commands moved it; return these.

    On a loaded machine the browser may fall silent and be let go: then Space is pressed anew.
    """
    moving: list = []
    while len(moving) < steps:
        started = time.monotonic()
        try:
            command = teleop.read()
        except DeviceLostError:
            command = None
        if command is not None and command.twist.any():
            moving.append(command)
            arm.step(command)
        else:
            page.keyboard.up("Space")
            read_until(teleop, lambda command: not command.engaged)
            page.keyboard.down("Space")
            read_until(teleop, lambda command: command.engaged)
        time.sleep(max(0.0, 0.1 - (time.monotonic() - started)))
    return moving


def test_keys_move_the_simulated_arm(page, teleop, arm):
    start_m = arm.state[:3].clone()
    page.keyboard.down("Space")
    page.keyboard.down("KeyA")
    read_until(teleop, lambda command: command.twist[1] > 0)
    commands = drive(page, teleop, arm, 8)
    page.keyboard.up("KeyA")
    page.keyboard.down("KeyG")
    assert read_until(teleop, lambda command: command.gripper == 1).engaged
    moved_m = (arm.state[:3] - start_m).numpy()
    commanded_m = 0.1 * sum(command.twist[1] for command in commands)
    assert commanded_m > 0.03
    assert moved_m[1] == pytest.approx(commanded_m, abs=0.02)
    assert abs(moved_m[[0, 2]]).max() < 0.01


def test_keys_without_the_dead_man_move_nothing(page, teleop, arm):
    start_m = arm.state[:3].clone()
    arm.step(read_until(teleop, lambda command: True))
    for key in ("KeyA", "KeyW", "KeyE", "KeyJ", "KeyG"):
        page.keyboard.down(key)
    page.keyboard.press("KeyP")  # behind the other keys on the wire
    read_until(teleop, lambda command: command.event == "pause")
    for _ in range(5):
        command = read_until(teleop, lambda command: True)
        assert not (command.engaged or command.gripper or command.twist.any())
        arm.step(command)
    assert (arm.state[:3] - start_m).norm() < 0.002


def test_closing_the_tab_stops_the_arm(browser, teleop, arm):
    page = open_page(browser, teleop)
    page.keyboard.down("Space")
    page.keyboard.down("KeyA")
    read_until(teleop, lambda command: command.twist[1] > 0)
    drive(page, teleop, arm, 5)
    closed_s = time.monotonic()
    page.close(run_before_unload=False)
    while True:
        try:
            still = not teleop.read().engaged
        except DeviceLostError:
            still = True
        if still:
            break
        assert time.monotonic() - closed_s < 5
        time.sleep(0.01)
    stopped_after_s = time.monotonic() - closed_s
    assert stopped_after_s < 0.5 + 0.5, stopped_after_s  # 0.02 s on a quiet machine
    held = torch.cat([arm.target_m, matrix_to_rot6d(arm.rotation), torch.tensor([-1.0])]).float()[None]
    for _ in range(5):  # half a second of simulated time with the target at rest
        step = arm.env.step(held)
    speed_m_s = step.obs["state"][0, 9:12].norm()
    assert speed_m_s < 0.01


def test_losing_the_focus_or_hiding_the_page_lets_everything_go(page, teleop):
    page.keyboard.down("Space")
    page.keyboard.down("KeyW")
    read_until(teleop, lambda command: command.engaged)
    page.evaluate("window.dispatchEvent(new Event('blur'))")
    read_until(teleop, lambda command: not command.engaged)
    page.keyboard.up("Space")
    page.keyboard.down("Space")
    command = read_until(teleop, lambda command: command.engaged)
    assert not command.twist.any()  # the W that is still down was let go too
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    read_until(teleop, lambda command: not command.engaged)


@pytest.mark.parametrize(("key", "event"), [("KeyN", "start"), ("KeyY", "success"), ("Escape", "quit")])
def test_keys_of_the_episode_fire_once(page, teleop, key, event):
    page.keyboard.down(key)
    page.keyboard.down(key)  # repeats
    read_until(teleop, lambda command: command.event == event)
    page.keyboard.press("KeyP")
    after = read_until(teleop, lambda command: command.event != "")
    assert after.event == "pause"


def test_buttons_fire_and_space_never_presses_one(page, teleop):
    page.click("[data-event=discard]")
    read_until(teleop, lambda command: command.event == "discard")
    page.keyboard.press("Space")
    page.keyboard.press("KeyP")
    assert read_until(teleop, lambda command: command.event != "").event == "pause"


def test_pads_and_the_held_button_move_together(page, teleop):
    """Two fingers at once, as pointer events: one on the hold button, one at the left pad's upper rim."""
    touch = """([id, type, pointer, x, y]) => {
        const element = document.getElementById(id), box = element.getBoundingClientRect();
        element.setPointerCapture = () => {};
        element.dispatchEvent(new PointerEvent(type, { pointerId: pointer, bubbles: true, cancelable: true,
            clientX: box.left + x * box.width, clientY: box.top + y * box.height }));
    }"""
    page.evaluate(touch, ["pad-left", "pointerdown", 1, 0.5, 0.0])
    page.evaluate(touch, ["hold", "pointerdown", 2, 0.5, 0.5])
    command = read_until(teleop, lambda command: command.engaged)
    assert command.twist == pytest.approx([0.15, 0, 0, 0, 0, 0], abs=1e-6)
    page.evaluate(touch, ["hold", "pointerup", 2, 0.5, 0.5])
    read_until(teleop, lambda command: not command.engaged)


def test_seen_from_the_front_forward_leads_towards_the_base(page, teleop):
    page.select_option("#view", "180")
    page.keyboard.down("Space")
    page.keyboard.down("KeyW")
    command = read_until(teleop, lambda command: command.engaged and command.twist.any())
    assert command.twist == pytest.approx([-0.15, 0, 0, 0, 0, 0], abs=1e-6)


GAMEPAD = """
window.pad = { id: "test pad", connected: true, mapping: "standard", axes: [0, 0, 0, 0],
    buttons: Array.from({ length: 17 }, () => ({ value: 0, pressed: false })) };
navigator.getGamepads = () => [window.pad];
"""


def test_a_gamepad_moves_with_its_trigger_only(browser, teleop):
    page = open_page(browser, teleop, GAMEPAD)
    page.evaluate("pad.axes = [0.05, -1, 0, 0]; pad.buttons[9].value = 1")
    assert not read_until(teleop, lambda command: command.event == "start").engaged
    page.evaluate("pad.buttons[7].value = 1")
    command = read_until(teleop, lambda command: command.engaged)
    assert command.twist == pytest.approx([0.15, 0, 0, 0, 0, 0], abs=1e-6)  # 0.05 lies in the deadband
    page.evaluate("navigator.getGamepads = () => [null]")  # unplugged with the trigger held
    read_until(teleop, lambda command: not command.engaged)
    page.evaluate("navigator.getGamepads = () => [pad]")  # back: the trigger must be let go first
    page.keyboard.press("KeyP")
    assert not read_until(teleop, lambda command: command.event == "pause").engaged
    page.context.close()


def test_a_headsets_controller_is_followed_while_its_trigger_is_held(browser, teleop):
    page = open_page(browser, teleop, FAKE_XR)
    page.click("#xr-immersive-vr")
    page.evaluate("fakeXr.hand.position = {x: 5, y: 5, z: 5}")
    wait_until(page, "fakeXr.frames > 3")
    assert not read_until(teleop, lambda command: True).engaged
    page.evaluate("fakeXr.select('selectstart')")
    assert not read_until(teleop, lambda command: command.engaged).twist.any()  # no jump
    page.evaluate("fakeXr.hand.position = {x: 5.02, y: 5.01, z: 4.98}")  # right, up, forward
    twist = read_until(teleop, lambda command: command.twist.any()).twist
    assert 0.1 * twist[:3] == pytest.approx([0.02, -0.02, 0.01], abs=1e-6)
    page.evaluate("fakeXr.hand.orientation = {x: 0, y: Math.sin(0.05), z: 0, w: Math.cos(0.05)}")
    twist = read_until(teleop, lambda command: command.twist.any()).twist
    assert 0.1 * twist == pytest.approx([0, 0, 0, 0, 0, 0.1], abs=1e-6)  # a turn about the vertical
    page.evaluate("fakeXr.source.gamepad.buttons[1].pressed = true")
    assert read_until(teleop, lambda command: command.gripper).gripper == 1
    page.evaluate("fakeXr.select('selectend'); fakeXr.hand.position = {x: 9, y: 5, z: 5}")
    read_until(teleop, lambda command: not command.engaged)
    page.evaluate("fakeXr.select('selectstart')")
    assert not read_until(teleop, lambda command: command.engaged).twist.any()
    page.evaluate("fakeXr.end()")
    read_until(teleop, lambda command: not command.engaged)
    page.context.close()


def test_forward_is_where_the_person_looks(browser, teleop):
    """A quarter turn to the left: the person now looks along WebXR's -x, and moves the hand there."""
    page = open_page(browser, teleop, FAKE_XR)
    page.evaluate("fakeXr.viewer.orientation = {x: 0, y: Math.SQRT1_2, z: 0, w: Math.SQRT1_2}")
    page.click("#xr-immersive-vr")
    wait_until(page, "fakeXr.frames > 3")
    page.evaluate("fakeXr.select('selectstart')")
    read_until(teleop, lambda command: command.engaged)
    page.evaluate("fakeXr.hand.position = {x: -0.03, y: 0, z: 0}")
    twist = read_until(teleop, lambda command: command.twist.any()).twist
    assert 0.1 * twist[:3] == pytest.approx([0.03, 0, 0], abs=1e-6)
    page.context.close()


def test_the_second_browser_is_told_and_takes_over(browser, teleop, page):
    second = open_page(browser, teleop, query="")
    wait_until(
        second, "document.getElementById('problem').textContent.includes('Another browser is driving')"
    )
    page.context.close()
    second.wait_for_selector("#link.on")
    second.keyboard.press("KeyN")
    assert not read_until(teleop, lambda command: command.event == "start").engaged
    second.context.close()


def test_a_wrong_address_shows_nothing(browser, teleop):
    page = browser.new_page()
    assert page.goto(f"{teleop.url[:-1]}x/").status == 403
    page.close()


def test_pictures_and_facts_appear_and_nothing_is_loaded_from_elsewhere(browser, teleop):
    page = browser.new_context(viewport={"width": 360, "height": 700}).new_page()
    wanted, errors = [], []
    page.on("request", lambda request: wanted.append(request.url))
    page.on("console", lambda entry: errors.append(entry.text) if entry.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(teleop.url)
    picture = np.zeros((48, 64, 3), np.uint8)
    teleop.show({"front": picture, "wrist": picture}, {"episodes": "3 of 50", "<b>": "<i>x</i>"})
    wait_until(page, "[...document.images].filter((one) => one.naturalWidth === 64).length === 2")
    assert "3 of 50" in page.inner_text("#facts") and "<i>x</i>" in page.inner_text("#facts")
    root = teleop.url.split("/", 3)[2]
    assert all(root in url for url in wanted)
    assert errors == []
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360  # a phone needs no scrolling sideways
    page.context.close()
