"""Where the SO-101's tool is, and which joint angles bring it somewhere.

The numbers are those of the arm's published model (TheRobotStudio, Simulation/SO101, "new calibration": each
joint's zero is the middle of its range). With all joints at zero the upper arm stands upright, and forearm
and gripper point forwards.

- Base frame: x forwards, z up; its origin is 2.4 mm above the base's underside and 38.8 mm behind the first
  axis.
- Tool frame: its origin is at the tip of the fixed jaw, the model's "gripperframe"; z points out of the
  gripper, y towards the moving jaw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from robofb.deploy.pose import Pose, Quaternion, Vector, between, difference, unit

Joints = NDArray[np.float64]  # (5,) angles [rad], from the base to the gripper

_HALF = math.sqrt(0.5)
_TURN_WEIGHT_M = 0.003  # an error of 1 rad counts as much as 3 mm: position first
_MOST_STEPS = 30
_STILL_RAD = 1e-5  # a hundredth of what an encoder tells apart
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-8, 1e-12, 1e3


class Link(NamedTuple):
    """A joint's frame in the frame before it, at zero angle; it turns about its own z axis.

    Attributes:
        offset_m: of its origin.
        turn: of its axes.
        reach_rad: least and greatest angle.
    """

    offset_m: Vector
    turn: Quaternion
    reach_rad: tuple[float, float]


LINKS = {
    "shoulder_pan": Link((0.0388353, 0.0, 0.0624), (0.0, 0.0, -1.0, 0.0), (-1.91986, 1.91986)),
    "shoulder_lift": Link((-0.0303992, -0.0182778, -0.0542), (0.5, -0.5, -0.5, -0.5), (-1.74533, 1.74533)),
    "elbow_flex": Link((-0.11257, -0.028, 0.0), (_HALF, 0.0, 0.0, _HALF), (-1.69, 1.69)),
    "wrist_flex": Link((-0.1349, 0.0052, 0.0), (_HALF, 0.0, 0.0, -_HALF), (-1.65806, 1.65806)),
    "wrist_roll": Link(
        (0.0, -0.0611, 0.0181), (0.0172091, -0.0172091, 0.706897, 0.706897), (-2.74385, 2.84121)
    ),
}
TOOL_M: Vector = (-0.0079, -0.000218121, -0.0981274)  # in the frame of the last joint
TOOL_TURN: Quaternion = (0.0, _HALF, _HALF, 0.0)


class So101Kinematics:
    """The chain of five joints from base to tool, computed by MuJoCo. Not for several threads at once.

    Args:
        lower_rad, upper_rad: (5,) limits of the joints.
    """

    def __init__(self, lower_rad: Sequence[float], upper_rad: Sequence[float]) -> None:
        self.lower_rad, self.upper_rad = np.array(lower_rad, float), np.array(upper_rad, float)
        self._model = _model()
        self._data = mujoco.MjData(self._model)
        self._tool = self._model.site("tool").id

    def forward(self, joints_rad: Sequence[float] | Joints) -> Pose:
        """Return the tool's pose in the base frame."""
        self._place(joints_rad)
        return self._pose()

    def jacobian(self, joints_rad: Sequence[float] | Joints) -> NDArray[np.float64]:
        """Return the (6, 5) Jacobian in the base frame: linear [m/rad] over angular."""
        self._place(joints_rad)
        return self._jacobian()

    def inverse(self, pose: Pose, near_rad: Sequence[float] | Joints) -> Joints:
        """Return the joint angles within the limits that bring the tool as near to a pose as they can.

        They minimise |dp|^2 + (3 mm/rad)^2 |dr|^2, dp the tool's distance in position, dr in rotation
        (Levenberg 1944, Marquardt 1963; joints at a limit that the error pulls beyond it stand still). Five
        joints cannot take every orientation: so the position is kept to within some tenths of a millimetre,
        and the orientation comes as near as it then can.

        Args:
            near_rad: where the search starts; it ends in the nearest minimum, so the elbow does not flip.
        """
        joints = np.clip(near_rad, self.lower_rad, self.upper_rad)
        jacobian, error = self._linearised(joints, pose)
        damping = _FIRST_DAMPING
        for _ in range(_MOST_STEPS):
            proposed = np.clip(
                joints + self._step(joints, jacobian, error, damping), self.lower_rad, self.upper_rad
            )
            next_jacobian, next_error = self._linearised(proposed, pose)
            if next_error @ next_error <= error @ error:
                moved = float(np.abs(proposed - joints).max())
                joints, jacobian, error = proposed, next_jacobian, next_error
                damping = max(0.1 * damping, _LEAST_DAMPING)
                if moved < _STILL_RAD:
                    break
            elif damping > _MOST_DAMPING:
                break
            else:
                damping *= 10.0
        return joints

    def _step(
        self, joints: Joints, jacobian: NDArray[np.float64], error: NDArray[np.float64], damping: float
    ) -> Joints:
        """Return how far the joints go towards less error."""
        pull = jacobian.T @ error
        stuck = ((joints <= self.lower_rad) & (pull < 0)) | ((joints >= self.upper_rad) & (pull > 0))
        squared = jacobian.T @ jacobian
        squared[stuck, :] = squared[:, stuck] = 0.0
        squared[np.diag_indices_from(squared)] += damping
        return np.asarray(np.linalg.solve(squared, np.where(stuck, 0.0, pull)), np.float64)

    def _linearised(self, joints: Joints, pose: Pose) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the weighted Jacobian (6, 5) and the weighted way to a pose (6,)."""
        self._place(joints)
        here, jacobian = self._pose(), self._jacobian()
        jacobian[3:] *= _TURN_WEIGHT_M
        way = [
            *difference(pose.position_m, here.position_m),
            *(_TURN_WEIGHT_M * part for part in between(here.turn, pose.turn)),
        ]
        return jacobian, np.array(way)

    def _place(self, joints_rad: Sequence[float] | Joints) -> None:
        self._data.qpos[:] = joints_rad
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)  # what the Jacobian is made from

    def _pose(self) -> Pose:
        turn = np.empty(4)
        mujoco.mju_mat2Quat(turn, self._data.site_xmat[self._tool])
        x, y, z = self._data.site_xpos[self._tool].tolist()
        w, i, j, k = turn.tolist()
        return Pose((x, y, z), unit((w, i, j, k)))

    def _jacobian(self) -> NDArray[np.float64]:
        jacobian = np.empty((6, len(LINKS)))
        mujoco.mj_jacSite(self._model, self._data, jacobian[:3], jacobian[3:], self._tool)
        return jacobian


def _model() -> mujoco.MjModel:
    """Return the chain as a model without shapes; its masses mean nothing."""
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    body = spec.worldbody
    for name, link in LINKS.items():
        body = body.add_body(name=name, pos=link.offset_m, quat=link.turn, mass=1.0, explicitinertial=True)
        body.inertia = [1.0, 1.0, 1.0]
        body.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1])
    body.add_site(name="tool", pos=TOOL_M, quat=TOOL_TURN)
    return spec.compile()
