"""Networks of pairs whose parts meet in a product."""

from __future__ import annotations

import torch
from torch import Tensor

from robofb.nets.factored import FactoredMlp


def of_one_pair(net: FactoredMlp, z: Tensor, x: Tensor) -> float:
    """Return the output for one z (Z,) and one x (X,), in float64, weight by weight."""

    def through(layers: torch.nn.Sequential, value: Tensor) -> Tensor:
        for layer in layers:
            if isinstance(layer, torch.nn.Linear):
                value = layer.weight.double() @ value + layer.bias.double()
            elif isinstance(layer, torch.nn.ReLU):
                value = value.clamp_min(0)
            else:
                assert isinstance(layer, torch.nn.SiLU)
                value = value / (1 + (-value).exp())
        return value

    z, x = z.double(), x.double()
    weights = through(net.of_z, z) + net.straight.weight.double() @ z + net.straight.bias.double()
    features = through(net.of_x, x)
    met = sum(w * f for w, f in zip(weights, features[:-1], strict=True))
    return float(met / net.features**0.5 + features[-1])


def test_every_pair_gets_what_it_gets_alone() -> None:
    torch.manual_seed(0)
    net = FactoredMlp(3, 2, [8, 6], features=5)
    z, x = torch.randn(2, 4, 3), torch.randn(2, 7, 2)
    out = net(z, x)
    assert out.shape == (2, 4, 7)
    expected = [[[of_one_pair(net, a, b) for b in x[m]] for a in z[m]] for m in range(2)]
    torch.testing.assert_close(out, torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_it_learns_which_of_many_places_is_meant() -> None:
    """One of eight z each means one of eight places, which a linear map of [z, x] cannot tell."""
    torch.manual_seed(0)
    net = FactoredMlp(8, 8, [32], features=16)
    adam = torch.optim.Adam(net.parameters(), lr=1e-2)
    eye = torch.eye(8)[None]
    for _ in range(200):
        loss = ((net(eye, eye) - eye) ** 2).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert (net(eye, eye)[0].argmax(1) == torch.arange(8)).all()
    assert float(loss) < 0.01
