"""Looks that differ from episode to episode."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch

from robofb.config import compose
from robofb.envs import make_task
from robofb.errors import UserError
from robofb.loading import make_env
from robofb.rng import EpisodeRng
from robofb.sim.mujoco_engine import MujocoEngine
from robofb.sim.render import ImageObserver, image_facts
from robofb.sim.textures import SIZE_PX, add_textures, make_textures, textured_materials
from robofb.sim.vec_env import SimVecEnv
from robofb.sim.visuals import VisualRandomization, WorldLooks, shown_colours, things

CAMERAS = {"front": (24, 32)}
RANGES = {
    "light": 0.3,
    "light_colour": 0.2,
    "light_pos_m": 0.4,
    "colour": 0.2,
    "camera_pos_m": 0.05,
    "camera_angle_rad": 0.1,
    "camera_fovy": 0.2,
    "texture": 0.5,
}
SEEDS = torch.arange(100, 164)


def scene() -> mujoco.MjModel:
    """Return a table, an arm of two bodies, a part, two lights, a camera and the textures."""
    spec = mujoco.MjSpec.from_string("""
        <mujoco><asset><material name="grey" rgba="0.2 0.4 0.6 1"/></asset>
        <visual><headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/></visual>
        <worldbody>
          <geom name="table" type="plane" size="1 1 0.1" material="grey"/>
          <geom name="wall" type="box" size="0.1 0.1 0.1" pos="0.8 0 0" rgba="0.1 0.2 0.3 1"/>
          <light pos="0 0 2"/><light pos="1 0 2"/>
          <camera name="front" pos="0 0 1" fovy="60"/>
          <body name="upper" pos="-0.8 0 0.2"><joint type="hinge"/><geom size="0.05"/>
            <body name="lower"><joint type="slide"/><geom size="0.04" rgba="0.9 0.9 0.9 1"/></body></body>
          <body name="part" pos="0.3 0 0.1"><freejoint/><geom size="0.05" rgba="0.8 0.5 0.3 1"/></body>
        </worldbody></mujoco>""")
    add_textures(spec)
    return spec.compile()


def drawn(ranges: dict[str, float], seeds: torch.Tensor = SEEDS) -> list[mujoco.MjModel]:
    """Return what the scene looks like in an episode of each seed."""
    import copy

    looks = WorldLooks(scene(), VisualRandomization(**ranges), len(seeds))
    looks.draw(torch.arange(len(seeds)), EpisodeRng(seeds))
    models = []
    for world in range(len(seeds)):
        looks.show(world)
        models.append(copy.copy(looks.model))
    return models


def field(models: list[mujoco.MjModel], name: str) -> np.ndarray:
    return np.stack([getattr(model, name) for model in models])


def test_every_range_is_kept_and_used():
    own, models = scene(), drawn(RANGES)
    light = field(models, "light_diffuse") / own.light_diffuse  # (64, 2, 3)
    assert light.min() >= 0.7 * 0.8 and light.max() <= 1.3 * 1.2 + 1e-6
    assert light.min() < 0.75 and light.max() > 1.25
    np.testing.assert_array_equal(light[:, 0], light[:, 1])  # all lights together
    ambient = np.stack([model.vis.headlight.ambient for model in models])
    np.testing.assert_allclose(ambient, light[:, 0], rtol=1e-6)
    for name, reach in (("light_pos", 0.4), ("cam_pos", 0.05)):
        moved = field(models, name) - getattr(own, name)
        assert 0.9 * reach < np.abs(moved).max() <= reach
    fovy = field(models, "cam_fovy") / own.cam_fovy
    assert 0.8 <= fovy.min() < 0.83 and 1.17 < fovy.max() <= 1.2
    cosine = np.abs(field(models, "cam_quat") @ own.cam_quat[0])  # of half the angle
    angle = 2 * np.arccos(np.clip(cosine, -1, 1))
    assert 0.1 < angle.max() <= 0.1 * 3**0.5


def test_colours_move_by_thing_from_what_is_shown():
    own, models = scene(), drawn({"colour": 0.2})
    shown = shown_colours(own)
    np.testing.assert_allclose(shown[0], [0.2, 0.4, 0.6, 1], rtol=1e-6)  # the material's
    assert things(own).tolist() == [2, 3, 0, 0, 1]  # table, wall, two of the arm, part
    shift = field(models, "geom_rgba") - shown
    assert 0.19 < np.abs(shift[..., :3]).max() <= 0.2 + 1e-6
    np.testing.assert_array_equal(shift[..., 3], 0)
    free = shift[:, 2, :3]  # upper: the arm's default grey moves freely both ways
    np.testing.assert_allclose(shift[:, 3, :3], np.minimum(free, 0.1), atol=1e-6)  # lower: white ends it
    assert np.abs(shift[:, 0] - shift[:, 1]).max() > 0.1  # table and wall do not move together
    assert (field(models, "geom_matid") == own.geom_matid).all()


def test_only_what_is_fixed_to_the_world_bears_textures():
    own, models = scene(), drawn({"texture": 0.5})
    material = field(models, "geom_matid")
    assert (material[:, 2:] == -1).all()
    bears = np.isin(material[:, :2], textured_materials(own))
    assert 0.3 < bears.mean() < 0.7
    assert set(material[:, 0]) == {0, *textured_materials(own).tolist()}
    np.testing.assert_allclose(field(models, "geom_rgba"), [shown_colours(own)] * len(models), rtol=1e-6)


def test_an_episode_looks_the_same_in_any_batch_and_others_differ():
    together = drawn(RANGES)
    alone = drawn(RANGES, SEEDS[5:6])
    for name in ("light_pos", "light_diffuse", "geom_rgba", "geom_matid", "cam_pos", "cam_quat", "cam_fovy"):
        np.testing.assert_array_equal(getattr(together[5], name), getattr(alone[0], name))
    assert len({model.cam_pos.tobytes() for model in together}) == len(together)


@pytest.mark.parametrize("left_out", RANGES)
def test_one_range_moves_no_other_draw(left_out):
    all_of_them, without = drawn(RANGES), drawn({**RANGES, left_out: 0.0})
    fields = {"cam_pos": "camera_pos_m", "cam_quat": "camera_angle_rad", "cam_fovy": "camera_fovy"}
    for name, range_name in {**fields, "light_pos": "light_pos_m", "geom_matid": "texture"}.items():
        same = (field(all_of_them, name) == field(without, name)).all()
        assert same == (range_name != left_out)


def test_ranges_of_no_width_change_no_pixel_and_physics_sees_nothing():
    task = make_task("one_leg_insert")
    plain, still, varied = (
        SimVecEnv(task, 3, cameras=CAMERAS, visuals=visuals)
        for visuals in (None, VisualRandomization(), VisualRandomization(**RANGES))
    )
    action = torch.tensor([0.48, 0, 0.2, 1, 0, 0, 0, -1, 0, -1]).expand(3, 10)
    for _ in range(2):
        one, same, other = (env.reset(7) for env in (plain, still, varied))
        assert torch.equal(one["image_front"], same["image_front"])
        assert (one["image_front"] != other["image_front"]).flatten(1).any(1).all()
        assert torch.equal(one["state"], other["state"])
        one, other = plain.step(action).obs, varied.step(action).obs
        assert torch.equal(one["state"], other["state"])
    for env in (plain, still, varied):
        env.close()


def test_an_env_repeats_its_looks():
    env = SimVecEnv(make_task("one_leg_insert"), 2, cameras=CAMERAS, visuals=VisualRandomization(**RANGES))
    first = env.reset(7)["image_front"]
    seeds, state = env.episode_seed.clone(), env.state_dict()
    assert not torch.equal(env.reset(8)["image_front"], first)
    assert torch.equal(env.load_state_dict(state)["image_front"], first)
    env.reset(8)
    assert torch.equal(env.repeat(seeds.flip(0))["image_front"], first.flip(0))
    assert image_facts(env)["visuals"] == RANGES
    env.close()


def test_a_colour_by_hand_in_a_picture():
    """Under white ambient light alone the pixel is the ball's colour, shifted: 0.8 by at most 0.1."""
    model = scene()
    model.light_diffuse[:] = model.light_specular[:] = 0
    engine = MujocoEngine(model, 8)
    images = ImageObserver(engine, {"front": (60, 60)}, VisualRandomization(colour=0.1))
    images.begin(torch.arange(8), SEEDS[:8])
    looks = images._looks
    assert looks is not None
    engine.field("qpos")[:, 2:4] = 0.0  # the part stands in the middle of the picture
    red = []
    for world in range(8):
        looks.show(world)
        red.append(looks.model.geom_rgba[4, 0])
    seen = images.observe(torch.arange(8))["image_front"][:, 0, 30, 30] / 255
    np.testing.assert_allclose(seen, red, atol=0.01)
    assert np.abs(np.asarray(red) - 0.8).max() <= 0.1 + 1e-6 and np.ptp(red) > 0.05
    images.close()
    engine.close()


def test_textures_repeat_without_a_seam():
    textures = make_textures()
    assert len(textures) == 4
    for name, pixels in textures.items():
        assert (pixels.shape, pixels.dtype) == ((SIZE_PX, SIZE_PX, 3), np.uint8)
        grey = pixels[..., 0].astype(int)
        assert grey.min() >= 139 and grey.max() <= 255 and np.ptp(grey) > 90, name  # 0.55 of 255 and up
        if name != "checker":  # whose every edge is a step
            steps = [np.abs(np.diff(grey, axis=axis)).max() for axis in (0, 1)]
            assert np.abs(grey[0] - grey[-1]).max() <= steps[0] + 1
            assert np.abs(grey[:, 0] - grey[:, -1]).max() <= steps[1] + 1


@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        ({"light": -0.1}, "light=-0.1: needs at least 0"),
        ({"light": 1.0}, "light=1.0: must be below 1"),
        ({"camera_fovy": 1.0}, "camera_fovy=1.0: must be below 1"),
        ({"colour": 2.0}, "colour=2.0: must be at most 1"),
        ({"texture": 1.5}, "texture=1.5: must be at most 1"),
        ({"camera_pos_m": float("inf")}, "camera_pos_m=inf: needs at least 0"),
    ],
)
def test_impossible_ranges_are_refused(ranges, told):
    with pytest.raises(UserError, match=told):
        VisualRandomization(**ranges)


def test_a_scene_without_textures_says_so():
    plain = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
    with pytest.raises(UserError, match=r"texture=0.5: this scene has no textures; leave texture out"):
        WorldLooks(plain, VisualRandomization(texture=0.5), 1)
    looks = WorldLooks(plain, VisualRandomization(colour=0.5), 1)
    looks.draw(torch.arange(1), EpisodeRng(SEEDS[:1]))


def test_visuals_need_cameras():
    cfg = compose("collect", ["visuals=varied", "visuals.texture=0"])
    assert cfg.visuals.texture == 0 and cfg.visuals.light > 0
    with pytest.raises(UserError, match="change what cameras see, and there are none here"):
        make_env(cfg.task, cfg.engine, 1, visuals=cfg.visuals)


def test_a_distant_light_that_moves_turns_and_a_near_one_does_not():
    """From (0, 0, 2), looking straight down, moved by s: it still aims at the origin, along s - (0, 0, 2)."""
    spec = mujoco.MjSpec.from_string("""
        <mujoco><worldbody><geom size="1"/>
          <light pos="0 0 2" dir="0 0 -1" type="directional"/><light pos="0 0 2" dir="0 0 -1"/>
        </worldbody></mujoco>""")
    looks = WorldLooks(spec.compile(), VisualRandomization(light_pos_m=0.5), 1)
    looks.draw(torch.tensor([0]), EpisodeRng(torch.tensor([7])))
    looks.show(0)
    moved = looks.model.light_pos - [0, 0, 2]
    towards = -looks.model.light_pos[0]
    np.testing.assert_allclose(looks.model.light_dir[0], towards / np.linalg.norm(towards), atol=1e-6)
    np.testing.assert_allclose(looks.model.light_dir[1], [0, 0, -1])
    assert np.abs(moved[0]).max() > 0.1
