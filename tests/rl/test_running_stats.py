"""Tests of robofb.rl.running_stats."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robofb.rl.running_stats import RewardScaler


def test_scales_by_the_deviation_of_the_running_return() -> None:
    scaler = RewardScaler(2, gamma=0.5)
    going = torch.tensor([False, False])
    scaler.scale(torch.tensor([0.0, 4.0]), going)  # returns 0, 4
    # returns 2, 0.5 * 4 + 0 = 2; all returns 0, 4, 2, 2: variance 2
    scaled = scaler.scale(torch.tensor([2.0, 0.0]), torch.tensor([False, True]))
    assert scaled.tolist() == pytest.approx([2 / 2**0.5, 0.0])
    # returns 0.5 * 2 + 0 = 1, and 3 (the episode ended: restarted)
    scaled = scaler.scale(torch.tensor([0.0, 3.0]), going)
    std = np.std([0, 4, 2, 2, 1, 3])
    assert scaled.tolist() == pytest.approx([0.0, 3 / std])


def test_clips_and_survives_constant_rewards() -> None:
    scaler = RewardScaler(1, gamma=0.0)
    assert scaler.scale(torch.tensor([1.0]), torch.tensor([True])).tolist() == [5.0]
    assert scaler.scale(torch.tensor([-100.0]), torch.tensor([True])).abs().item() <= 5.0


def test_continues_from_its_state_dict() -> None:
    first, second = RewardScaler(3, gamma=0.9), RewardScaler(3, gamma=0.9)
    rewards = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    done = torch.tensor([False, True, False])
    for reward in rewards[:3]:
        first.scale(reward, done)
    second.load_state_dict(first.state_dict())
    for reward in rewards[3:]:
        assert torch.equal(first.scale(reward, done), second.scale(reward, done))
