"""The viewer on viser's server: nodes where MuJoCo has the bodies, and the real page in a browser."""

import re
import sys
import time

import mujoco
import numpy as np
import pytest
from chromium import opened
from deployed_example import write_deployed
from episode_examples import SPEC, make_episode
from scripted_dataset import task_scene, write_dataset

pytest.importorskip("viser")

from robofb.errors import UserError
from robofb.sim.recorded import RecordedScene
from robofb.store.episodes import EpisodeStore
from robofb.store.named_values import pose_tracks
from robofb.types import ArraySpec
from robofb.viewer import serve
from robofb.viewer.page import Page
from robofb.viewer.scene import SHOWN_GROUPS, ModelNodes, PoseNodes
from robofb.viewer.serve import HOST, local_server
from robofb.viewer.session import Session

PORT = 8410


@pytest.fixture(scope="module")
def server():
    with local_server(PORT) as running:
        yield running


@pytest.fixture
def path(tmp_path):
    return write_dataset(tmp_path / "d", 2)


def matrix(wxyz):
    turn = np.empty(9)
    mujoco.mju_quat2Mat(turn, np.asarray(wxyz, float))
    return turn.reshape(3, 3)


def test_every_shown_geom_is_where_mujoco_has_it(server, path):
    """The pose of a geom's node below its body's node is MuJoCo's own world pose, at several steps."""
    scene = RecordedScene(task_scene().model)
    nodes = ModelNodes(server.scene, scene)
    model, data = scene.model, scene.data
    shown = {geom for geom in range(model.ngeom) if model.geom_group[geom] < SHOWN_GROUPS}
    assert set(nodes.geoms) == shown and len(shown) > 30
    episode = EpisodeStore.open(path)[1]
    for step in (0, 17, len(episode)):
        scene.show(episode.obs["sim_state"][step])
        nodes.update()
        for geom, node in nodes.geoms.items():
            body = nodes.bodies[model.geom_bodyid[geom]]
            assert node.name.startswith(f"{body.name}/")
            turn = matrix(body.wxyz)
            np.testing.assert_allclose(body.position + turn @ node.position, data.geom_xpos[geom], atol=1e-6)
            np.testing.assert_allclose(
                turn @ matrix(node.wxyz), data.geom_xmat[geom].reshape(3, 3), atol=1e-6
            )
        leg = data.body("leg").xpos
        np.testing.assert_allclose(leg, episode.obs["state"][step, 16:19], atol=1e-6)  # the same world


def test_axes_stand_at_the_named_poses(server, path):
    with EpisodeStore.open(path) as store:
        episode, tracks = store[0], pose_tracks(store.spec, store[0])
        poses = PoseNodes(server.scene, tracks, axes=True)
        poses.update(20)
        for index, start in enumerate((0, 16, 25)):  # ee, leg, top in the state
            node = server.scene.get_handle_by_name(f"/poses/{index}/axes")
            np.testing.assert_allclose(node.position, episode.obs["state"][20, start : start + 3], atol=1e-6)
            columns = episode.obs["state"][20, start + 3 : start + 9].reshape(2, 3).T
            np.testing.assert_allclose(matrix(node.wxyz)[:, :2], columns, atol=1e-5)
        poses.remove()
        assert server.scene.get_handle_by_name("/poses/0/axes") is None


def test_a_dataset_of_an_unknown_task_with_odd_arrays_can_be_shown(server, tmp_path):
    """No names, a picture with one channel, values that are no numbers."""
    spec = SPEC.with_obs({"depth": ArraySpec((1, 8, 6), "uint8"), "plain": ArraySpec((4,))})
    with EpisodeStore.create(tmp_path / "d", spec) as store:
        store.append(make_episode(1, 1, spec))
        session = Session(store)
        session.episode.obs["plain"][:] = np.nan
        page = Page(server, session, None, "no task 'example'")
        page.turn(0.1, 0.01)
        assert page.pictures["depth"].image.shape == (8, 6, 3)
        assert "no task" in page._note.content
    server.gui.reset()


def test_a_state_that_is_not_finite_is_told_and_does_not_stop_the_page(server, path):
    with EpisodeStore.open(path) as store:
        session = Session(store)
        session.episode.obs["sim_state"][3] = np.nan
        page = Page(server, session, task_scene())
        page._move(3)
        page.refresh()
        assert "NaN" in page._note.content
        page._move(1)
        page.refresh()
    server.gui.reset()
    server.scene.reset()


def test_a_server_is_for_this_machine_and_shares_nothing(server):
    assert server.get_host() == HOST == "127.0.0.1"
    assert server.request_share_url() is None
    with local_server(PORT) as other:
        assert other.get_port() != PORT
    with pytest.raises(UserError, match="port=70000"), local_server(70000):
        pass


def test_ctrl_c_saves_what_is_marked(path, monkeypatch):
    def mark_and_leave(page, stop):
        page.session.mark("grasp")
        raise KeyboardInterrupt

    monkeypatch.setattr(serve, "run", mark_and_leave)
    said = []
    with EpisodeStore.open(path, "a") as store:
        serve.serve(Session(store, 1, can_mark=True), None, "", PORT, said.append)
    assert said[0].startswith(f"http://{HOST}:") and said[1] == "saved the marks of 1 episodes"
    assert EpisodeStore.open(path)[1].meta["bottlenecks"] == [{"step": 0, "by": "person", "why": "grasp"}]


def test_a_missing_viser_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(UserError, match=r"robofb\[view\]"), local_server(PORT):
        pass


@pytest.fixture
def browser():
    with opened() as chromium:
        yield chromium.new_page(viewport={"width": 900, "height": 600})


def until(page, view, happened, elapsed_s=0.0, within_s=60.0):
    """Let the viewer turn, `elapsed_s` of episode time a turn, until something happened."""
    end_s = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < end_s, f"in vain: {view.inner_text('body')}"
        page.turn(elapsed_s, 0.01)
        view.wait_for_timeout(20)


def shows(view, pattern):
    """Return whether a pattern matches what the browser shows."""
    return lambda: re.search(pattern, view.inner_text("body").replace("\n", " "))


def press(view, name):
    """Click a button without waiting for the picture, which software draws slowly, to stand still."""
    view.get_by_role("button", name=name, exact=True).dispatch_event("click")


@pytest.mark.slow
def test_a_person_plays_marks_and_saves_in_the_browser(browser, path):
    with local_server(PORT) as server, EpisodeStore.open(path, "a") as store:
        page = Page(server, Session(store, can_mark=True), task_scene())
        faults = []
        browser.on("pageerror", lambda error: faults.append(str(error)))
        browser.goto(f"http://{HOST}:{server.get_port()}")
        player = page.session.player
        until(page, browser, shows(browser, f"one_leg_insert · episode 0 of 2 .* step 0 of {player.last}"))
        press(browser, "play / pause")
        until(page, browser, lambda: player.step >= 5, elapsed_s=0.02)
        browser.keyboard.press("Space")
        until(page, browser, lambda: not player.playing)
        until(page, browser, shows(browser, f"step {player.step} of {player.last}"))
        browser.locator("input[value=precise]").fill("peg meets hole")
        until(page, browser, lambda: page.why.value == "peg meets hole")
        press(browser, "mark")
        marked = rf"step {player.step}: peg meets hole \(person\) not saved: episode 0"
        until(page, browser, shows(browser, marked))
        press(browser, "save")
        until(page, browser, shows(browser, "saved the marks of 1 episodes"))
        press(browser, "episode ▶")
        until(page, browser, shows(browser, "episode 1 of 2"))
        assert faults == []
    meta = EpisodeStore.open(path)[0].meta
    assert meta["bottlenecks"] == [{"step": player.step, "by": "person", "why": "peg meets hole"}]


def test_a_deployment_shows_who_drove_what_was_seen_and_what_the_gate_did(server, tmp_path):
    """Steps 8 to 13 are a person's; a plan is no curve and no pose, and does no harm."""
    with EpisodeStore.open(write_deployed(tmp_path / "d")) as store:
        page = Page(server, Session(store), None, "no task 'line'")
        assert not any("deploy_plan" in group for group in page._groups)
        assert page.pictures["image_front"].image.shape == (24, 32, 3)
        np.testing.assert_array_equal(page.pictures["image_front"].image[0, 0], [200, 128, 128])
        assert "modes 3: policy" in page._facts.content and "modes 4: human" in page._facts.content
        for step, acts in ((0, "policy"), (7, "policy"), (8, "intervention"), (14, "policy")):
            page.session.player.seek(step)
            page.refresh()
            assert f"{acts} acts" in page._status.content
        shown = {"mode": 4, "chunks_passed": 10, "chunks_clamped": 5, "chunk_clamped_speed": 1}
        for quantity, at_10 in {**shown, "chunk_refused": 0, "image_front_captured_s": 1}.items():
            page._curves[0][0].value = f"deploy_facts {quantity}"
            page.session.player.seek(10)
            page.refresh()
            assert f"{quantity} {at_10}<" in page._curves[0][1].content
            assert "<title>intervention</title>" in page._curves[0][1].content
        assert "no task" in page._note.content
    server.gui.reset()
    server.scene.reset()


@pytest.mark.slow
def test_a_deployment_is_played_in_the_browser(browser, tmp_path):
    with local_server(PORT) as server, EpisodeStore.open(write_deployed(tmp_path / "d")) as store:
        page = Page(server, Session(store), None, "no task 'line'")
        faults = []
        browser.on("pageerror", lambda error: faults.append(str(error)))
        browser.goto(f"http://{HOST}:{server.get_port()}")
        until(page, browser, shows(browser, "line · episode 0 of 1 .* step 0 of 20 .* policy acts"))
        until(page, browser, lambda: browser.locator("img[src^='blob:'], img[src^='data:image']").count())
        press(browser, "play / pause")
        until(page, browser, lambda: page.session.player.step == 9, elapsed_s=0.02)
        until(page, browser, shows(browser, "step 9 of 20 .* intervention acts"))
        until(page, browser, shows(browser, "step 20 of 20 .* the end"), elapsed_s=0.02)
        assert faults == []
