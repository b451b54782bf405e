"""A small scene with one of everything that an engine must get right, and engines made from their configs."""

from functools import cache
from pathlib import Path

import mujoco
import pytest
import yaml

from robofb.build import build

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "engine"
NAMES = sorted(file.stem for file in CONFIGS.glob("*.yaml"))
DT_S, GRAVITY_M_S2, BOX_KG = 0.005, 9.81, 2.0
SCENE = f"""
<mujoco>
  <option timestep="{DT_S}" integrator="implicitfast" cone="elliptic" tolerance="1e-9"/>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 0.1"/>
    <body name="target" mocap="true" pos="1 0 0.1"/>
    <body name="box" pos="1 0 0.1">
      <freejoint name="box"/>
      <geom name="box" type="box" size="0.1 0.1 0.1" mass="{BOX_KG}" friction="0.5 0.005 0.0001"/>
      <site name="box"/>
    </body>
    <body name="arm" pos="-1 0 1">
      <joint name="hinge" axis="0 1 0" damping="0.5" armature="0.1"/>
      <geom type="capsule" fromto="0 0 0 0.3 0 0" size="0.02" mass="0.5" contype="0" conaffinity="0"/>
      <site name="tip" pos="0.3 0 0"/>
    </body>
  </worldbody>
  <equality><weld name="hold" body1="box" body2="target" active="false"/></equality>
  <actuator>
    <general joint="hinge" dyntype="integrator" gaintype="fixed" biastype="affine" gainprm="40"
      biasprm="0 -40 -4"/>
  </actuator>
  <sensor>
    <framepos objtype="site" objname="tip"/>
    <framelinvel objtype="site" objname="tip"/>
    <accelerometer site="box"/>
    <contact body1="box" geom2="floor" data="dist" reduce="mindist" num="1"/>
  </sensor>
</mujoco>
"""


@cache
def scene() -> mujoco.MjModel:
    """Compile the scene."""
    return mujoco.MjModel.from_xml_string(SCENE)


def make_engine(name, model, num_worlds, **settings):
    """Make the engine of configs/engine/<name>.yaml, on the CPU."""
    if name == "warp":
        pytest.importorskip("mujoco_warp")
        settings = {"device": "cpu", **settings}
    return build(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) | settings, model, num_worlds)
