"""Recorded states shown again: poses and contacts against MuJoCo's own and against plain geometry."""

import mujoco
import numpy as np
import pytest

from robofb.errors import UserError
from robofb.sim.recorded import RecordedScene

XML = """<mujoco><worldbody><geom name="floor" type="plane" size="1 1 .1"/>
<body name="ball" pos="0 0 1"><freejoint/><geom type="sphere" size=".1"/></body>
<body name="cube" pos="1 0 1"><freejoint/><geom type="box" size=".1 .1 .1"/></body>
<body name="arm" pos="0 1 1"><joint type="slide" axis="1 0 0"/><geom type="sphere" size=".1"/>
<body name="tip" pos="0 0 .3"><joint type="hinge"/><geom type="sphere" size=".1" contype="0" conaffinity="0"/>
<geom type="box" size=".1 .1 .1" pos="0 0 .2"/></body></body></worldbody></mujoco>"""


@pytest.fixture
def scene():
    return RecordedScene(mujoco.MjModel.from_xml_string(XML))


def state_with(scene, ball, cube, slide=0.0):
    data = mujoco.MjData(scene.model)
    data.qpos[0:3], data.qpos[7:10], data.qpos[14] = ball, cube, slide
    state = np.empty(scene.state_size)
    mujoco.mj_getState(scene.model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    return state


def test_bodies_are_where_the_state_says(scene):
    scene.show(state_with(scene, (0, 0, 2), (1, 0, 3), slide=0.25))
    np.testing.assert_allclose(scene.data.body("ball").xpos, (0, 0, 2))
    np.testing.assert_allclose(scene.data.body("cube").xpos, (1, 0, 3))
    np.testing.assert_allclose(scene.data.body("tip").xpos, (0.25, 1, 1.3))


def test_parts_are_what_moves_freely(scene):
    assert scene.parts == {"ball", "cube"}


def test_touching_names_things_and_leaves_out_what_cannot_move(scene):
    scene.show(state_with(scene, (0, 0, 2), (1, 0, 2)))
    assert scene.touching() == set()
    scene.show(state_with(scene, (0, 0, 0.05), (0.15, 0, 0.05)))  # both also in the floor
    assert scene.touching() == {("ball", "cube")}
    scene.show(state_with(scene, (0, 0.85, 1), (1, 0, 2)))
    assert scene.touching() == {("arm", "ball")}
    scene.show(state_with(scene, (0, 0, 2), (0, 1, 1.65)))  # in the box that hangs on the tip
    assert scene.touching() == {("arm", "cube")}


def test_gaps_are_between_surfaces(scene):
    scene.show(state_with(scene, (0, 0, 2), (0.5, 0, 2)))
    assert scene.gap_m("ball", "cube") == pytest.approx(0.3, abs=1e-6)
    assert scene.gap_m("ball", "cube", farthest_m=0.2) == 0.2
    scene.show(state_with(scene, (0, 0, 2), (0.15, 0, 2)))
    assert scene.gap_m("cube", "ball") == pytest.approx(-0.05, abs=1e-3)


def test_states_of_another_model_and_bad_numbers_are_refused(scene):
    with pytest.raises(ValueError, match="shape"):
        scene.show(np.zeros(3))
    state = state_with(scene, (0, 0, 2), (1, 0, 2))
    state[2] = np.nan
    with pytest.raises(UserError, match="sim_state"):
        scene.show(state)
