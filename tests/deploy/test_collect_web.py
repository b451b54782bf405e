"""The whole path by hand: the real command, a real browser, a dataset."""

import re
import subprocess
import sys
import time

import numpy as np
import pytest
from chromium import CHROMIUM, FLAGS

from robofb.envs.furniture.task import WORKSPACE_HIGH_M
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_HUMAN

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium or google-chrome")
PATIENCE_S = 30.0  # for a loaded machine


@pytest.fixture
def command(tmp_path):
    """Start `robofb collect teleop=web`; return the process and the page's address."""
    words = ["collect", "task=one_leg_insert", "teleop=web", "episodes=1", f"out={tmp_path / 'd'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "robofb.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    url = process.stdout.readline().split()[-1]
    assert url.startswith("http://127.0.0.1:")
    yield process, url
    process.kill()
    process.communicate()


def wait_for(page, text):
    end = time.monotonic() + PATIENCE_S
    while text not in page.inner_text("body"):
        assert time.monotonic() < end, f"{text!r} not in {page.inner_text('body')!r}"
        time.sleep(0.05)


def wait_for_recorded(page, time_s):
    """Wait until at least so much is recorded: a loaded machine may skip any one number on the page."""
    end = time.monotonic() + PATIENCE_S
    while True:
        text = page.inner_text("body")
        if max(map(float, re.findall(r"\b(\d+\.\d) s\b", text)), default=0.0) >= time_s:
            return
        assert time.monotonic() < end, f"less than {time_s} s in {text!r}"
        time.sleep(0.05)


def test_a_page_session_moves_the_arm_and_records_an_episode(command, tmp_path):
    process, url = command
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector("#link.on")
        page.keyboard.press("n")
        wait_for(page, "recording")
        page.keyboard.down("e")  # up, without the dead-man switch: nothing is recorded
        time.sleep(0.5)
        wait_for(page, "0.0 s")
        page.keyboard.down(" ")
        wait_for(page, "1.0 s")
        page.keyboard.up(" ")
        page.keyboard.up("e")
        page.keyboard.press("y")
        wait_for(page, "success: saved in 3 s")
        page.keyboard.press("y")  # at once
        assert process.wait(PATIENCE_S) == 0
        browser.close()
    assert f"episodes in {tmp_path / 'd'}: 1; failed attempts discarded: 0" in process.stdout.read()
    with EpisodeStore.open(tmp_path / "d") as store:
        episode = store[0]
    assert episode.success and episode.meta["success_by"] == "person" and episode.meta["teleop"] == "web"
    assert (episode.source == SOURCE_HUMAN).all()
    np.testing.assert_allclose(np.diff(episode.timestamps), 0.1, atol=1e-9)
    names = store.spec.obs["state"].names
    height_m = episode.obs["state"][:, names.index("ee_pos_base_z")]
    # At 0.15 m/s the arm climbs 0.12 m or more in ten steps or more, less what it lags (0.05 m at most), up
    # to the top of the workspace.
    top_m = WORKSPACE_HIGH_M[2]
    climb_m = min(0.015 * len(episode) - 0.06, top_m - 0.01 - height_m[0])
    assert len(episode) >= 10 and height_m[-1] - height_m[0] > climb_m
    below = episode.action[1:, 2] < top_m - 1e-6
    assert (np.diff(episode.action[:, 2])[below] > 0).all()
