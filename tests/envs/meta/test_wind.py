"""What a wind does to a point and pays, by hand."""

from __future__ import annotations

import pytest
import torch

from robofb.envs.meta.wind import Wind


@pytest.mark.parametrize("dense", [False, True])
def test_who_holds_against_the_wind_stays_and_is_paid(dense: bool) -> None:
    """In winds of (0.05, -0.02) and (0, 0.08); up against the first, held in the second."""
    winds = torch.tensor([[0.05, -0.02], [0.0, 0.08]])
    env = Wind(dense=dense).fixed(winds).make_env(2)
    env.reset(0)
    ways = torch.tensor([[-0.5, 1.0], [0.0, -0.8]])  # 0.08 m a step up, and none
    step = env.step(ways)
    place = torch.tensor([[0.0, 0.08], [0.0, 0.0]])
    torch.testing.assert_close(step.final_obs["state"], place)
    distance = torch.tensor([0.92, 1.0])
    torch.testing.assert_close(step.reward, -distance if dense else torch.zeros(2))
    for _ in range(11):
        step = env.step(ways)
    torch.testing.assert_close(step.final_obs["state"][0], torch.tensor([0.0, 0.96]))
    assert step.reward[0] <= 0 and not step.info["success"][0]  # 0.04 m away
    step = env.step(torch.tensor([[-0.5, 0.6], [0.0, -0.8]]))
    torch.testing.assert_close(step.final_obs["state"][0], torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(step.reward, torch.tensor([1.0, -1.0 if dense else 0.0]), atol=1e-5, rtol=0)
    assert step.info["success"].tolist() == [True, False]
