import torch
from torch import nn

from robofb.nets.mlp import MlpDenoiser


def make(**sizes):
    torch.manual_seed(0)
    return MlpDenoiser(action_dim=3, horizon=8, cond_dim=5, **sizes)


def awake(net):
    """Return the net with random weights where training starts at zero."""
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return net


def inputs(batch=6):
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(batch, 8, 3, generator=generator),
        torch.randint(0, 100, (batch,), generator=generator),
        torch.randn(batch, 5, generator=generator),
    )


def test_size_follows_the_layers():
    net = make(width=16, num_blocks=2, step_dim=4)

    def linear(inputs, outputs):
        return inputs * outputs + outputs

    expected = linear(4, 16) + linear(16, 16)  # step
    expected += linear(5, 16) + linear(16, 16)  # condition
    expected += linear(24, 16) + linear(16, 24)  # stem, head
    expected += 2 * (2 * linear(16, 16) + linear(16, 2 * 16) + 2 * 16)  # blocks: two maps, FiLM, norm
    assert sum(p.numel() for p in net.parameters()) == expected


def test_every_input_reaches_every_row_of_the_chunk():
    net = awake(make())
    noisy, step, cond = (x[:1] for x in inputs())
    before = net(noisy, step, cond)
    other_noisy, other_cond = noisy.clone(), cond.clone()
    other_noisy[0, 7, 2] += 0.1
    other_cond[0, 4] += 0.1
    for changed in (net(other_noisy, step, cond), net(noisy, step + 1, cond), net(noisy, step, other_cond)):
        assert bool((changed != before).all())


def test_rows_of_a_batch_do_not_mix():
    net = awake(make())
    noisy, step, cond = inputs()
    whole = net(noisy, step, cond)
    for row in range(len(noisy)):
        alone = net(noisy[row : row + 1], step[row : row + 1], cond[row : row + 1])
        torch.testing.assert_close(alone[0], whole[row], rtol=1e-5, atol=1e-6)


def test_starts_linear_and_deaf_to_the_step():
    net = make()
    noisy, step, cond = inputs()
    assert torch.equal(net(noisy, step, cond), net(noisy, step * 0, cond))
    linear = net.head(net.stem(noisy.flatten(1))).reshape(6, 8, 3)
    torch.testing.assert_close(net(noisy, step, cond), linear)
