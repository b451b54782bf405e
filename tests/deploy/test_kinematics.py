"""Frames and Jacobians of arms: by hand, by differences, by MuJoCo, and by a maker's own table."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from importlib.util import find_spec
from pathlib import Path

import mujoco
import numpy as np
import pytest
from arm_makers import config_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ur_joints import TOOL_M, tool

from robofb.deploy.kinematics import Chain, jacobian, least_singular

UR, FRANKA = (config_of(name).limits.joints for name in ("ur", "franka"))


def flange(chain: Chain, joints: np.ndarray, ahead_m: float = 0.0) -> np.ndarray:
    """Return where something in front of the last joint is."""
    return (chain.frames(joints)[-1] @ [0.0, 0.0, ahead_m, 1.0])[:3]


def test_a_ur5e_with_all_joints_at_zero_lies_along_minus_x() -> None:
    """-(0.425 + 0.3922) along x, -(0.1333 + 0.0996) along y, 0.1625 - 0.0997 up."""
    np.testing.assert_allclose(flange(Chain(UR.chain), np.zeros(6)), (-0.8172, -0.2329, 0.0628), atol=1e-12)


@given(arrays(float, 6, elements=st.floats(-6, 6)))
def test_a_ur5e_is_where_its_makers_table_says(joints: np.ndarray) -> None:
    np.testing.assert_allclose(flange(Chain(UR.chain), joints, TOOL_M), tool(joints)[:3, 3], atol=1e-12)


@given(arrays(float, 7, elements=st.floats(-3, 3)))
def test_the_jacobian_is_the_derivative(joints: np.ndarray) -> None:
    chain, small = Chain(FRANKA.chain), 1e-6
    found = jacobian(chain.frames(joints), flange(chain, joints, 0.2))
    for index, step in enumerate(small * np.eye(7)):
        ahead, behind = joints + step, joints - step
        speed = (flange(chain, ahead, 0.2) - flange(chain, behind, 0.2)) / (2 * small)
        np.testing.assert_allclose(found[:3, index], speed, atol=1e-8)
        turned = chain.frames(ahead)[-1, :3, :3] @ chain.frames(behind)[-1, :3, :3].T
        rate = np.array([turned[2, 1], turned[0, 2], turned[1, 0]]) - [
            turned[1, 2],
            turned[2, 0],
            turned[0, 1],
        ]
        np.testing.assert_allclose(found[3:, index], rate / (4 * small), atol=1e-8)


def test_a_franka_is_mujocos() -> None:
    """Axes, Jacobians and what the joints can do, of the description that franky-sim brings."""
    spec = find_spec("franky_sim")
    assert spec is not None and spec.origin is not None
    assets = Path(spec.origin).parent / "assets"
    root = ET.parse(assets / "fr3.xml").getroot()
    compiler = root.find("compiler")
    assert compiler is not None
    compiler.set("meshdir", str(assets / "meshes"))
    model = mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"))
    assert (np.array(FRANKA.low_rad) >= model.jnt_range[:7, 0] - 1e-9).all()
    assert (np.array(FRANKA.high_rad) <= model.jnt_range[:7, 1] + 1e-9).all()
    data, chain, generator = mujoco.MjData(model), Chain(FRANKA.chain), np.random.default_rng(0)
    for _ in range(20):
        joints = generator.uniform(FRANKA.low_rad, FRANKA.high_rad)
        data.qpos[:7] = joints
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        place = flange(chain, joints, 0.2)
        moving, turning = np.zeros((2, 3, model.nv))
        mujoco.mj_jac(model, data, moving, turning, place, model.jnt_bodyid[6])
        expected = np.concatenate([moving, turning])[:, :7]
        np.testing.assert_allclose(jacobian(chain.frames(joints), place), expected, atol=1e-12)


def test_a_stretched_arm_is_singular() -> None:
    """At zero the elbow of a UR5e is straight; bent by a right angle it is far from that."""
    chain = Chain(UR.chain)
    values = []
    for joints in (np.zeros(6), np.array([0, -1, 1, -1, -1, 0]) * math.pi / 2):
        values.append(least_singular(jacobian(chain.frames(joints), flange(chain, joints))))
    assert values[0] == pytest.approx(0.0, abs=1e-9) and values[1] > 0.2
