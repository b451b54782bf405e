"""A move's care scales the hand's errors of grasping and aiming."""

import pytest
import torch

from robofb.envs.furniture.moves import Carry, Pose, Reach, Scene

GRASP_ERROR_M, AIM_ERROR_M = (0.002, 0.0, -0.004), (0.001, -0.0006)


def scene() -> Scene:
    here = Pose(torch.zeros(1, 3), torch.eye(3).expand(1, 3, 3))
    parts = {"peg": here, "block": Pose(torch.tensor([[0.3, 0.2, 0.1]]), here.rotation)}
    errors = torch.tensor([GRASP_ERROR_M]), torch.tensor([AIM_ERROR_M])
    return Scene(here, here, here, parts, *errors)


@pytest.mark.parametrize("care", [1.0, 0.4, 0.0])
def test_care_scales_the_errors(care):
    reach = Reach(part="peg", grasp_m=(0.0, 0.0, 0.01), headings=[torch.eye(3)], care=care)
    grasp = torch.tensor([[care * 0.002, 0.0, 0.01 - care * 0.004]])
    torch.testing.assert_close(reach.target(scene()).pose.position, grasp)
    carry = Carry(part="peg", to="block", seat_m=(0.0, 0.0, 0.0), goal_m=(0.0, 0.0, 0.05), care=care)
    goal = torch.tensor([[0.3 + care * 0.001, 0.2 - care * 0.0006, 0.15]])
    torch.testing.assert_close(carry.target(scene()).pose.position, goal)
