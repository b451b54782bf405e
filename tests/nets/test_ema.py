import pytest
import torch
from torch import nn

from robofb.nets.ema import Ema


class Point(nn.Module):
    """One weight and one buffer."""

    def __init__(self, value):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value]))
        self.register_buffer("seen", torch.zeros(()))


def test_three_updates_by_hand():
    model = Point(1.0)
    ema = Ema(model, decay=0.15)
    expected = 1.0
    for value, decay in ((2.0, 1 / 10), (4.0, 0.15), (8.0, 0.15)):  # n / (n + 9): 1/10, 2/11, 3/12
        model.weight.data.fill_(value)
        model.seen.fill_(value)
        ema.update(model)
        expected = decay * expected + (1 - decay) * value
    assert ema.model.weight.item() == pytest.approx(expected)
    assert ema.model.seen.item() == 8.0
    assert model.weight.item() == 8.0


def test_early_updates_forget_the_start_even_with_a_long_memory():
    model = Point(100.0)
    ema = Ema(model, decay=0.9999)
    model.weight.data.fill_(0.0)
    expected = 100.0
    for n in range(1, 31):
        ema.update(model)
        expected *= n / (n + 9)
    assert ema.model.weight.item() == pytest.approx(expected, rel=1e-4)
    assert ema.model.weight.item() < 1e-5


def test_the_average_carries_no_gradient_and_shares_no_memory():
    model = Point(1.0)
    ema = Ema(model, decay=0.5)
    assert not ema.model.weight.requires_grad
    assert ema.model.weight.data_ptr() != model.weight.data_ptr()


def test_a_restored_average_goes_on_the_same():
    model, other = Point(1.0), Point(5.0)
    ema = Ema(model, decay=0.9)
    model.weight.data.fill_(3.0)
    ema.update(model)
    restored = Ema(other, decay=0.9)
    restored.load_state_dict(ema.state_dict())
    for average in (ema, restored):
        average.update(model)
    assert torch.equal(ema.model.weight, restored.model.weight)
    assert restored.num_updates == 2
