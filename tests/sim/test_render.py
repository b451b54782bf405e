"""Pictures of simulated worlds and image observations."""

import mujoco
import numpy as np
import pytest
import torch

from robofb.envs import make_task
from robofb.errors import UserError
from robofb.sim.render import ImageObserver, Renderer, write_video
from robofb.sim.vec_env import SimVecEnv

CAMERAS = {"front": (24, 32), "wrist": (16, 16)}
STAY = torch.tensor([0.48, 0, 0.2, 1, 0, 0, 0, -1, 0, -1])


@pytest.fixture(scope="module")
def sphere():
    """Return an engine of two worlds: a white ball that slides along x before a black sky."""
    from robofb.sim.mujoco_engine import MujocoEngine

    model = mujoco.MjModel.from_xml_string("""
        <mujoco><visual><headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/></visual>
        <worldbody><camera name="front" pos="0 0 1" fovy="90"/>
        <body><joint type="slide" axis="1 0 0"/><geom type="sphere" size="0.2" rgba="1 1 1 1"/></body>
        </worldbody></mujoco>""")
    engine = MujocoEngine(model, 2)
    engine.field("qpos")[1] = 0.5
    yield engine
    engine.close()


def test_picture_by_hand(sphere):
    """At 1 m a lens of 90 degrees shows 2 m over 64 rows: the ball stands 0 and 16 columns off centre."""
    with Renderer(sphere, 64, 64) as renderer:
        for world, column in ((0, 32), (1, 48)):
            bright = renderer.frame(world)[..., 0] > 128
            rows, columns = np.nonzero(bright)
            assert abs(rows.mean() + 0.5 - 32) < 0.6
            assert abs(columns.mean() + 0.5 - column) < 1.5  # a sphere's outline leans outwards


def test_image_observations_are_the_renderers_pictures(sphere):
    images = ImageObserver(sphere, {"front": (48, 64)})
    seen = images.observe(torch.tensor([1, 0]))["image_front"]
    assert (seen.shape, seen.dtype) == ((2, 3, 48, 64), torch.uint8)
    with Renderer(sphere, 48, 64) as renderer:
        np.testing.assert_array_equal(seen[0].permute(1, 2, 0), renderer.frame(1))
    images.close()
    images.close()


def test_focal_length_by_hand(sphere):
    """At 90 degrees the image's half height is seen at 45: the focal length is 24 of 48 px."""
    facts = ImageObserver(sphere, {"front": (48, 64)}).facts["front"]
    assert facts["focal_px"] == pytest.approx(24)
    assert (facts["fixed_to"], facts["pos_m"], facts["quat_wxyz"]) == ("world", [0, 0, 1], [1, 0, 0, 0])


def test_unknown_cameras_and_impossible_pictures_are_refused(sphere):
    with pytest.raises(UserError, match="camera must be one of front, not 'frnt'"):
        ImageObserver(sphere, {"frnt": (8, 8)})
    for height, width in ((0, 8), (8, 10_000)):
        with pytest.raises(UserError, match=f"{height} x {width} pixels .* up to 480 x 640"):
            ImageObserver(sphere, {"front": (height, width)})


def test_closing_one_observer_leaves_another_seeing(sphere):
    first, second = (ImageObserver(sphere, {"front": (48, 64)}) for _ in range(2))
    before = second.observe(torch.tensor([0]))["image_front"]
    assert before.any()
    first.close()
    assert torch.equal(second.observe(torch.tensor([0]))["image_front"], before)
    second.close()


def test_a_machine_without_ffmpeg_is_one_line(tmp_path, monkeypatch):
    def no_ffmpeg(*args, **kwargs):
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr("imageio.v2.get_writer", no_ffmpeg)
    with pytest.raises(UserError, match="No ffmpeg exe"):
        write_video(tmp_path / "a.mp4", [np.zeros((8, 8, 3), np.uint8)], 10)


def test_env_observes_images_before_and_after_a_reset():
    env = SimVecEnv(make_task("one_leg_insert", max_steps=2), 2, cameras=CAMERAS)
    assert [env.spec.obs[f"image_{name}"].shape for name in CAMERAS] == [(3, 24, 32), (3, 16, 16)]
    start = env.reset(0)
    assert start["image_wrist"].shape == (2, 3, 16, 16)
    assert not torch.equal(start["image_front"][0], start["image_front"][1])  # the parts lie elsewhere
    assert torch.equal(env.reset(0)["image_front"], start["image_front"])
    env.elapsed[1] = 1  # world 1 is due to end now, world 0 is not
    step = env.step(STAY.expand(2, 10))
    assert step.done.tolist() == [False, True]
    for key in ("image_front", "image_wrist"):
        assert torch.equal(step.obs[key][0], step.final_obs[key][0])
        assert not torch.equal(step.obs[key][1], step.final_obs[key][1])
    env.close()


def test_state_alone_costs_no_renderer(monkeypatch):
    monkeypatch.setattr("robofb.sim.vec_env.ImageObserver", None)
    env = SimVecEnv(make_task("one_leg_insert"), 1)
    assert set(env.reset(0)) == set(env.spec.obs) == {"state"}
    env.close()


def test_moved_obstacles_are_shown_where_they_are():
    """Two worlds that differ in the place of the bars alone look different."""
    engine = SimVecEnv(make_task("one_leg"), 2).engine
    mocap = engine.field("mocap_pos")
    mocap[:, 0] = torch.tensor([0.55, 0.10, 0.0], dtype=torch.float64)
    mocap[1, 0, 0] = 0.45
    engine.forward(torch.arange(2))
    with Renderer(engine, 60, 80) as renderer:
        first, second = renderer.frame(0), renderer.frame(1)
    assert np.abs(first.astype(int) - second).max() > 50
