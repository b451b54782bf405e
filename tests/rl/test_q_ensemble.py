"""Tests of robofb.rl.q_ensemble."""

import pytest
import torch
import torch.nn.functional as F

from robofb.rl.q_ensemble import QEnsemble


@pytest.mark.parametrize("layer_norm", [True, False])
def test_members_are_separate_networks(layer_norm):
    ensemble = QEnsemble(
        3, 2, hidden=[8, 5], num_members=4, layer_norm=layer_norm, generator=torch.Generator().manual_seed(0)
    )
    obs, action = torch.randn(7, 3), torch.randn(7, 2)
    values = ensemble(obs, action)
    assert values.shape == (4, 7)
    for member in range(4):
        x = torch.cat([obs, action], 1)
        for index, (weight, bias) in enumerate(zip(ensemble.weights, ensemble.biases)):
            x = x @ weight[member] + bias[member, 0]
            if index < 2:
                x = (
                    F.relu(
                        (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-5) ** 0.5
                    )
                    if layer_norm
                    else F.relu(x)
                )
        torch.testing.assert_close(values[member], x[:, 0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(values[0], values[1])


def test_the_generator_gives_the_weights():
    first, second, third = (
        QEnsemble(2, 1, hidden=[4], generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.weights[0], second.weights[0])
    assert not torch.equal(first.weights[0], third.weights[0])
