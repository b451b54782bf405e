"""A hand of two fingers over a trough, with the names of Gymnasium-Robotics' scene."""

from pathlib import Path

from robofb.envs.robots.shadow_hand import SCENE

NUM_JOINTS, NUM_TOUCHES = 2, 3
PEN_KG, GRAVITY_M_S2 = 0.04, 9.81
_FINGER = """
    <body name="robot0:{0}" pos="1.06 {1} 0.19">
      <joint name="robot0:{0}J0" axis="0 -1 0" range="-0.5 1" limited="true" damping="0.02" armature="0.001"/>
      <geom type="capsule" fromto="0 0 0 -0.06 0 0.02" size="0.008" mass="0.02"/>
      <site name="robot0:T_{0}tip" type="sphere" size="0.02" pos="-0.06 0 0.02" group="4"/>
    </body>"""
XML = f"""
<mujoco>
  <compiler angle="radian"/>
  <option timestep="0.002" iterations="20"/>
  <worldbody>
    <light directional="true" pos="0 1 4" dir="0 0 -1"/>
    <geom name="floor0" type="plane" pos="1 1 -0.2" size="1 1 1"/>
    <body name="robot0:palm" pos="1 0.9 0.14">
      <geom type="box" size="0.04 0.06 0.01" mass="1"/>
      <geom type="box" size="0.005 0.06 0.005" pos="-0.035 0 0.015" mass="1"/>
      <geom type="box" size="0.005 0.06 0.005" pos="0.035 0 0.015" mass="1"/>
      <site name="robot0:T_palm" type="box" size="0.04 0.06 0.03" pos="0 0 0.01" group="4"/>
    </body>
    {_FINGER.format("FF", 0.88)}
    {_FINGER.format("MF", 0.92)}
    <body name="object" pos="1 0.9 0.17" euler="1.4 0.1 0">
      <geom name="object" type="capsule" size="0.008 0.05" mass="{PEN_KG}"/>
      <joint name="object:joint" type="free" damping="0.001"/>
    </body>
    <body name="target" pos="1 0.9 0.17">
      <geom name="target" type="capsule" size="0.008 0.05" contype="0" conaffinity="0" rgba="0 0.5 0.8 0.5"/>
      <joint name="target:joint" type="free" damping="0.01"/>
    </body>
  </worldbody>
  <actuator>
    <position name="robot0:A_MFJ0" joint="robot0:MFJ0" kp="2" ctrlrange="-0.5 1"/>
    <position name="robot0:A_FFJ0" joint="robot0:FFJ0" kp="2" ctrlrange="-0.2 1"/>
  </actuator>
  <sensor>
    <jointpos name="robot0:Sjp_FFJ0" joint="robot0:FFJ0"/>
    <touch name="robot0:ST_Tch_fftip" site="robot0:T_FFtip"/>
    <touch name="robot0:TS_palm" site="robot0:T_palm"/>
    <touch name="robot0:TS_fftip" site="robot0:T_FFtip"/>
    <touch name="robot0:TS_mftip" site="robot0:T_MFtip"/>
  </sensor>
</mujoco>
"""


def write_hand(folder: Path) -> Path:
    """Write the scene into a folder; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCENE).write_text(XML)
    return folder
