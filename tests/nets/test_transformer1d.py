import pytest
import torch
from torch import nn

from robofb.errors import UserError
from robofb.nets.transformer1d import Transformer1D

SMALL = {"width": 16, "num_layers": 3, "num_heads": 4, "num_cond_tokens": 2}


def make(**changes):
    """Return a network with large random weights, so that every part of it shows."""
    torch.manual_seed(0)
    net = Transformer1D(action_dim=3, horizon=8, cond_dim=5, **{**SMALL, **changes})
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net


def inputs(batch=4):
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(batch, 8, 3, generator=generator),
        torch.randint(0, 100, (batch,), generator=generator),
        torch.randn(batch, 5, generator=generator),
    )


def test_the_papers_size_by_hand():
    with torch.device("meta"):
        net = Transformer1D(action_dim=10, horizon=32, cond_dim=58)
    w = 256
    attention = (w * 3 * w + 3 * w) + (w * w + w)
    block = 2 * attention + (4 * w * w + 4 * w) + (4 * w * w + w) + 3 * 2 * w
    widened = (w * 4 * w + 4 * w) + (4 * w * w + w)  # of the step, and of the condition
    ends = (10 * w + w) + 32 * w + 2 * w + (w * 10 + 10)
    expected = 8 * block + 2 * widened + (58 * w + w) + 2 * w + ends
    assert sum(p.numel() for p in net.parameters()) == expected == 9_508_362


def reference(net, noisy, step, cond):
    """The same from torch's own decoder, which is given the weights."""
    weights = net.state_dict()
    width, heads = SMALL["width"], SMALL["num_heads"]
    layer = nn.TransformerDecoderLayer(
        width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    decoder = nn.TransformerDecoder(layer, SMALL["num_layers"]).eval()
    names = {  # torch's: ours
        "self_attn.in_proj": "query_key_value",
        "self_attn.out_proj.": "attended.",
        "multihead_attn.out_proj.": "remembered.",
        "linear1.": "expand.",
        "linear2.": "contract.",
        **{f"norm{index + 1}.": f"norms.{index}." for index in range(3)},
    }
    theirs = {}
    for layer_index in range(SMALL["num_layers"]):
        here, there = f"blocks.{layer_index}.", f"layers.{layer_index}."
        for part in ("weight", "bias"):
            for name, ours in names.items():
                join = "_" if name.endswith("in_proj") else ""
                dot = "." if name.endswith("in_proj") else ""
                theirs[f"{there}{name}{join}{part}"] = weights[f"{here}{ours}{dot}{part}"]
            both = [weights[f"{here}{name}.{part}"] for name in ("memory_query", "memory_key_value")]
            theirs[f"{there}multihead_attn.in_proj_{part}"] = torch.cat(both)
    decoder.load_state_dict(theirs)
    tokens = torch.cat([net.step(step)[:, None], net.cond(cond)], dim=1)
    mask = nn.Transformer.generate_square_subsequent_mask(8) if net.blocks[0].causal else None
    out = decoder(net.stem(noisy) + net.position, net.memory_norm(tokens), tgt_mask=mask)
    return net.head(out)


@pytest.mark.parametrize("causal", [True, False])
def test_agrees_with_torchs_decoder(causal):
    net = make(causal=causal)
    found = net(*inputs())
    assert found.shape == (4, 8, 3)
    torch.testing.assert_close(found, reference(net, *inputs()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("causal", [True, False])
def test_later_actions_change_earlier_ones_only_where_it_is_not_causal(causal):
    net = make(causal=causal)
    noisy, step, cond = inputs()
    before = net(noisy, step, cond)
    noisy[:, 5] += 1.0
    changed = (net(noisy, step, cond) != before).all(dim=2).all(dim=0)
    assert changed.tolist() == [not causal] * 5 + [True] * 3


def test_step_and_every_condition_reach_every_action():
    net = make()
    noisy, step, cond = inputs()
    before = net(noisy, step, cond)
    assert bool((net(noisy, step + 1, cond) != before).any(dim=2).all())
    for element in range(5):
        other = cond.clone()
        other[:, element] += 1.0
        assert bool((net(noisy, step, other) != before).any(dim=2).all()), element


def test_context_of_many_steps_is_that_of_each():
    net = make()
    _, _, cond = inputs()
    steps = torch.tensor([90, 40, 3])
    together = net.context(net.step(steps[:, None]), net.cond(cond))
    for index, step in enumerate(steps):
        alone = net.context(net.step(step.expand(4)), net.cond(cond))
        assert len(alone) == len(together) == SMALL["num_layers"]
        for one, all_steps in zip(alone, together):
            assert one.shape == (4, 2, 4, 3, 4)  # batch, keys and values, heads, tokens, width of a head
            torch.testing.assert_close(all_steps[index], one, rtol=1e-4, atol=1e-5)


def test_matrices_alone_decay():
    net = make()
    apart = {id(parameter) for parameter in net.undecayed}
    matrices = {f"{name}.weight" for name, module in net.named_modules() if isinstance(module, nn.Linear)}
    assert {name for name, parameter in net.named_parameters() if id(parameter) not in apart} == matrices
    assert len(net.undecayed) == len(apart)


def test_starts_at_a_sane_scale():
    torch.manual_seed(0)
    output = Transformer1D(action_dim=3, horizon=8, cond_dim=5)(*inputs(batch=64))
    assert 0.05 < output.std().item() < 2.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 18}, "width=18, .*num_heads=4"),
        ({"width": 12, "num_heads": 4}, "width=12"),
        ({"num_layers": 0}, "num_layers=0"),
        ({"num_heads": 0}, "num_heads=0"),
        ({"num_cond_tokens": 0}, "num_cond_tokens=0"),
    ],
)
def test_refuses_in_one_line(changes, words):
    with pytest.raises(UserError, match=words) as error:
        make(**changes)
    assert "\n" not in str(error.value)
