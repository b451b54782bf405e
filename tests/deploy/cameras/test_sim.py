"""A rendered camera: the pictures of simulated time, stamps of the simulation, and what it refuses."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import mujoco
import numpy as np
import pytest
import torch
from numbered_scene import counting, numbered_task

from robofb.config import compose
from robofb.deploy.cameras.camera import CameraLostError
from robofb.deploy.cameras.fitting import fitted
from robofb.deploy.cameras.freshness import Freshness
from robofb.deploy.cameras.sim import SimCamera, View
from robofb.deploy.live.deployment import plain
from robofb.deploy.live.device_processes import CameraSetup
from robofb.deploy.ring import Ring
from robofb.deploy.scene import SCENE, numbers_of, tell
from robofb.envs import make_task
from robofb.errors import UserError
from robofb.sim.vec_env import SimVecEnv

SIZE_PX = (48, 64)


@pytest.fixture
def states() -> Iterator[Ring]:
    with closing(Ring(SCENE)) as made:
        yield made


def camera_at(states: Ring, name: str = "front", **more: Any) -> SimCamera:
    return SimCamera(name, make_task("one_leg_insert"), View(states, *SIZE_PX), fps=1000.0, **more)


@pytest.mark.parametrize("name", ["one_leg_insert", "one_leg"])  # the second moves a body from outside
def test_pictures_are_those_of_simulated_time_to_the_pixel(name: str, states: Ring) -> None:
    task = make_task(name)
    with (
        closing(
            SimVecEnv(task, 1, cameras=dict.fromkeys(("front", "wrist"), SIZE_PX), autoreset=False)
        ) as env,
        closing(SimCamera("front", make_task(name), View(states, *SIZE_PX), fps=1000.0)) as front,
        closing(SimCamera("wrist", make_task(name), View(states, *SIZE_PX), fps=1000.0)) as wrist,
    ):
        front.connect()
        wrist.connect()
        expert = task.expert(1, 0.0)
        shown = []
        obs = env.reset(3)
        expert.reset(torch.ones(1, dtype=torch.bool), env.episode_seed)
        for step in range(8):
            tell(states, numbers_of(env.engine), float(step))
            for camera in (front, wrist):
                frame = camera.read()
                assert (frame.captured_s, frame.sequence, frame.rendered) == (step, step, True)
                expected = obs[f"image_{camera.name}"][0].numpy()
                np.testing.assert_array_equal(fitted(frame.image, *SIZE_PX), expected)
                shown.append(frame.digest)
            obs = env.step(expert.next(obs)).final_obs
        assert len(set(shown)) == 16  # they differ, so that the comparison means something
        tell(states, numbers_of(env.engine), 9.0)
        env.reset(4)
        tell(states, numbers_of(env.engine), 10.0)
        assert front.read().captured_s == 10.0  # the newest alone


def test_a_scene_that_stands_still_is_fresh_and_one_that_says_nothing_is_not(states: Ring) -> None:
    fresh = Freshness("front")
    with (
        closing(SimVecEnv(make_task("one_leg_insert"), 1, autoreset=False)) as env,
        closing(camera_at(states, timeout_s=0.2)) as camera,
    ):
        camera.connect()
        env.reset(0)
        frames = []
        for number in range(3):
            tell(states, numbers_of(env.engine), number / 10)
            frames.append(camera.read())
            fresh.see(frames[-1], number / 10)
        assert len({frame.digest for frame in frames}) == 1 and fresh.age_s(0.25) == pytest.approx(0.05)
        with pytest.raises(CameraLostError, match=r"camera front \(sim\): .* said nothing new for 0.2 s"):
            camera.read()
        assert fresh.age_s(0.75) == pytest.approx(0.55)
        tell(states, numbers_of(env.engine), 0.8)
        assert camera.read().sequence == 3  # it goes on


def test_it_waits_for_a_state_and_takes_no_more_pictures_than_it_may(states: Ring) -> None:
    with closing(SimCamera("front", numbered_task(), View(states, 8, 8), 20.0, 60.0)) as camera:
        camera.connect()
        with ExitStack() as stack:
            later = threading.Timer(0.2, lambda: stack.enter_context(counting(states)))
            began_s = time.monotonic()
            later.start()
            frames = [camera.read() for _ in range(4)]
            assert frames[0].captured_s >= began_s + 0.2
            assert time.monotonic() >= began_s + 0.2 + 3 / 20
            later.join()


def test_what_cannot_be_seen_is_refused_in_one_line(states: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task("one_leg_insert")
    for camera, message in (
        (
            SimCamera("front", task),
            r"camera front \(sim\) sees the task of a simulated arm alone: say arm=sim",
        ),
        (SimCamera("front", None, View(states, 8, 8)), "say arm=sim realtime=true"),
        (camera_at(states, "side"), "camera must be one of front, figure, wrist, not 'side'"),
        (SimCamera("front", task, View(states, 4000, 8)), "4000 x 8 pixels .* cannot be rendered"),
    ):
        with pytest.raises(UserError, match=message) as error:
            camera.connect()
        assert "\n" not in str(error.value)
        camera.close()
    for value in (0.0, math.nan):
        with pytest.raises(UserError, match="fps"):
            SimCamera("front", fps=value)

    def none(*_: object) -> None:
        raise RuntimeError("no OpenGL here\nmore")

    monkeypatch.setattr(mujoco, "Renderer", none)
    with pytest.raises(UserError, match=r"cannot render: no OpenGL here \(on Debian or Ubuntu: apt install"):
        camera_at(states).connect()


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("deploy", ["run=x", "arm=sim", "realtime=true", "task=one_leg_insert"]),
        ("collect", ["arm=sim", "task=one_leg_insert", "teleop=gamepad"]),
    ],
)
def test_its_config_takes_the_task_of_the_arm(verb: str, words: list[str], states: Ring) -> None:
    cfg = compose(verb, [*words, "camera=sim", "cameras.wrist.fps=5"])
    assert sorted(cfg.cameras) == ["front", "wrist"]
    assert cfg.cameras.wrist.fps == 5 and cfg.cameras.front.fps == 30
    setup = CameraSetup("wrist", plain(cfg.cameras.wrist), 8, 12)
    with closing(setup.make(states)) as camera, closing(SimVecEnv(make_task("one_leg_insert"), 1)) as env:
        camera.connect()
        tell(states, numbers_of(env.engine), 0.0)
        assert camera.read().image.shape == (8, 12, 3)
