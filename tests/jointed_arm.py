"""The ideal arm with the joints of a UR5e."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ur_joints import UrJoints

from robofb.deploy.arms.arm import ArmState
from robofb.deploy.arms.ideal import IdealArm
from robofb.deploy.pose import rotvec_of


@dataclass
class JointedArm(IdealArm):
    """Say joints whose tool is `astray_m` from where it is said to be."""

    astray_m: float = 0.0
    joints: UrJoints = field(default_factory=UrJoints)

    def __post_init__(self) -> None:
        self.state()  # the first takes long

    def state(self) -> ArmState:
        state = super().state()
        x, y, z = state.pose.position_m
        angles = self.joints.follow([x + self.astray_m, y, z, *rotvec_of(state.pose.turn)])
        return replace(state, joints_rad=tuple(angles))
