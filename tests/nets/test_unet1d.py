import math

import pytest
import torch
import torch.nn.functional as F

from robofb.errors import UserError
from robofb.nets.unet1d import UNet1D

SMALL = {"channels": (8, 16, 24), "kernel": 5, "groups": 4, "step_dim": 12}


def make(**changes):
    torch.manual_seed(0)
    return UNet1D(action_dim=3, horizon=8, cond_dim=5, **{**SMALL, **changes})


def inputs(batch=4, horizon=8):
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(batch, horizon, 3, generator=generator),
        torch.randint(0, 100, (batch,), generator=generator),
        torch.randn(batch, 5, generator=generator),
    )


def test_the_papers_size():
    with torch.device("meta"):
        net = UNet1D(action_dim=10, horizon=32, cond_dim=58)
    assert sum(p.numel() for p in net.parameters()) == 66_055_690


def reference(weights, noisy, step, cond):
    """The same network from its definition: functions on (B, C, T), weights by name."""

    def conv(x, name, stride=1):
        kernel = weights[f"{name}.weight"][:, :, 0]
        return F.conv1d(x, kernel, weights[f"{name}.bias"], stride=stride, padding=kernel.shape[-1] // 2)

    def linear(x, name):
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def conv_block(x, name):
        x = F.group_norm(
            conv(x, f"{name}.0"), SMALL["groups"], weights[f"{name}.1.weight"], weights[f"{name}.1.bias"]
        )
        return x * torch.tanh(F.softplus(x))

    def residual(x, name):
        scale, shift = linear(c, f"{name}.film").unsqueeze(-1).chunk(2, dim=1)
        hidden = scale * conv_block(x, f"{name}.first") + shift
        through = conv(x, f"{name}.skip") if f"{name}.skip.weight" in weights else x
        return conv_block(hidden, f"{name}.second") + through

    half = SMALL["step_dim"] // 2
    waves = step[:, None] * torch.tensor([10000.0 ** (-i / (half - 1)) for i in range(half)])
    time = linear(F.mish(linear(torch.cat([waves.sin(), waves.cos()], 1), "step.1")), "step.3")
    c = F.mish(torch.cat([time, cond], dim=1))
    x = noisy.mT
    a = residual(residual(x, "down.0.first"), "down.0.second")  # 8 time steps
    b = residual(residual(conv(a, "down.0.resample", 2), "down.1.first"), "down.1.second")  # 4
    d = residual(residual(conv(b, "down.1.resample", 2), "down.2.first"), "down.2.second")  # 2
    x = residual(residual(d, "middle.0"), "middle.1")
    for level, skip in (("up.0", d), ("up.1", b)):
        x = residual(residual(torch.cat([x, skip], dim=1), f"{level}.first"), f"{level}.second")
        kernel = weights[f"{level}.resample.weight"][:, :, 0]
        x = F.conv_transpose1d(x, kernel, weights[f"{level}.resample.bias"], stride=2, padding=1)
    return conv(conv_block(x, "head.0"), "head.1").mT


def test_agrees_with_the_definition_in_plain_functions():
    net = make()
    net(*inputs())
    found, expected = net(*inputs()), reference(net.state_dict(), *inputs())
    assert found.shape == (4, 8, 3)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_gradients_agree_with_the_definition():
    net = make()
    weights = {name: w.detach().clone().requires_grad_() for name, w in net.state_dict().items()}
    net(*inputs()).square().sum().backward()
    reference(weights, *inputs()).square().sum().backward()
    for name, parameter in net.named_parameters():
        error = (parameter.grad - weights[name].grad).norm() / weights[name].grad.norm()
        assert error < 1e-4, name


def test_a_longer_chunk_needs_no_other_weights():
    weights = make().state_dict()
    longer = UNet1D(action_dim=3, horizon=16, cond_dim=5, **SMALL)
    longer.load_state_dict(weights)
    found = longer(*inputs(horizon=16))
    torch.testing.assert_close(found, reference(weights, *inputs(horizon=16)), rtol=1e-4, atol=1e-5)


def test_loading_keeps_the_fast_layout():
    net = make()
    net.load_state_dict({name: w.contiguous() for name, w in net.state_dict().items()})
    weight = net.middle[0].first[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert weight.shape == (24, 24, 1, 5)


def test_starts_at_a_sane_scale():
    output = make()(*inputs(batch=64))
    assert 0.05 < output.std().item() < 2.0
    assert math.isfinite(output.abs().max().item())


@pytest.mark.parametrize("horizon", [2, 10, 33])
def test_refuses_a_horizon_that_cannot_be_halved_twice(horizon):
    with pytest.raises(UserError, match=f"horizon {horizon}.*multiple of 4"):
        UNet1D(action_dim=3, horizon=horizon, cond_dim=5, **SMALL)
