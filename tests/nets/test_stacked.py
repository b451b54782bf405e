"""Networks computed together give what each gives alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robofb.nets.stacked import StackedMlp


def alone(stacked: StackedMlp, member: int, x: Tensor) -> Tensor:
    """Compute one member layer by layer."""
    last = len(stacked.weights) - 1
    for index, (weight, bias) in enumerate(zip(stacked.weights, stacked.biases, strict=True)):
        x = x @ weight[member] + bias[member]
        if index < last:
            x = F.layer_norm(x, x.shape[-1:]).relu()
    return x


def test_members_do_not_mix_and_inputs_may_come_in_two_parts() -> None:
    generator = torch.Generator().manual_seed(0)
    stacked = StackedMlp([5, 8, 8, 2], 3, generator=generator)
    shared, own = torch.randn(7, 3, generator=generator), torch.randn(3, 7, 2, generator=generator)
    out = stacked(shared, own)
    for member in range(3):
        expected = alone(stacked, member, torch.cat([shared, own[member]], -1))
        torch.testing.assert_close(out[member], expected)
    torch.testing.assert_close(stacked(torch.cat([shared.expand(3, -1, -1), own], -1)), out)


def test_both_parts_carry_gradients() -> None:
    generator = torch.Generator().manual_seed(1)
    stacked = StackedMlp([5, 8, 1], 2, generator=generator)
    parts = [torch.randn(4, n, generator=generator, requires_grad=True) for n in (3, 2)]
    together = torch.cat([part.detach() for part in parts], -1).requires_grad_()
    stacked(*parts).sum().backward()
    sum(alone(stacked, member, together).sum() for member in range(2)).backward()
    torch.testing.assert_close(torch.cat([part.grad for part in parts], -1), together.grad)
