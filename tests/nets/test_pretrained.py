"""Weights with torchvision's names, written by others' means, come back; what does not fit is named."""

import pickle

import pytest
import safetensors.torch
import torch
from torch import nn

from robofb.errors import UserError
from robofb.nets.pretrained import load_resnet, read_weights
from robofb.nets.vision import ResNet

TINY = {"channels": [8, 16], "blocks": [2, 1], "strides": [1, 2], "group_size": 4}


def torchvision_weights(channels=(8, 16), blocks=(2, 1)):
    """Return weights named and shaped as torchvision names those of a ResNet of basic blocks."""
    generator = torch.Generator().manual_seed(0)
    weights = {}

    def conv(name, outputs, inputs, size):
        weights[f"{name}.weight"] = torch.randn(outputs, inputs, size, size, generator=generator)

    def norm(name, size):
        for part in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{name}.{part}"] = torch.rand(size, generator=generator)
        weights[f"{name}.num_batches_tracked"] = torch.tensor(7)

    conv("conv1", channels[0], 3, 7)
    norm("bn1", channels[0])
    above = channels[0]
    for stage, (here, count) in enumerate(zip(channels, blocks), 1):
        for block in range(count):
            name = f"layer{stage}.{block}"
            conv(f"{name}.conv1", here, above, 3)
            norm(f"{name}.bn1", here)
            conv(f"{name}.conv2", here, here, 3)
            norm(f"{name}.bn2", here)
            if above != here:
                conv(f"{name}.downsample.0", here, above, 1)
                norm(f"{name}.downsample.1", here)
            above = here
    weights["fc.weight"], weights["fc.bias"] = torch.zeros(10, above), torch.zeros(10)
    return weights


def test_every_weight_of_a_whole_resnet_18_has_its_place():
    weights = torchvision_weights((64, 128, 256, 512), (2, 2, 2, 2))
    network = ResNet()
    load_resnet(network, weights, "here")
    used = sum(weight.numel() for weight in network.parameters())
    counted = [name for name in weights if not name.startswith("fc.") and name.endswith(("weight", "bias"))]
    assert used == sum(weights[name].numel() for name in counted) == 11_176_512
    assert torch.equal(network.stages[3][1].norm2.bias, weights["layer4.1.bn2.bias"])
    assert torch.equal(network.stages[1][0].downsample[0].weight, weights["layer2.0.downsample.0.weight"])


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_files_come_back(tmp_path, suffix):
    weights, path = torchvision_weights(), tmp_path / f"resnet{suffix}"
    if suffix == ".pt":
        torch.save(weights, path)
    else:
        safetensors.torch.save_file(weights, path, {"format": "pt"})
    found = read_weights(path)
    assert found.keys() == weights.keys()
    for name, weight in weights.items():
        assert found[name].dtype == weight.dtype and torch.equal(found[name], weight), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_the_networks(tmp_path, dtype):
    weights = {name: weight.to(dtype) for name, weight in torchvision_weights().items()}
    safetensors.torch.save_file(weights, tmp_path / "w.safetensors")
    network = ResNet(**TINY)
    load_resnet(network, read_weights(tmp_path / "w.safetensors"), "w")
    assert network.conv1.weight.dtype == torch.float32
    assert torch.equal(network.conv1.weight, weights["conv1.weight"].float())


def test_running_statistics_change_nothing():
    weights = torchvision_weights()
    others = {name: weight * 3 if "running" in name else weight for name, weight in weights.items()}
    networks = [ResNet(**TINY) for _ in range(2)]
    for network, given in zip(networks, (weights, others)):
        load_resnet(network, given, "here")
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(networks[0](images), networks[1](images))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layer2.0.bn1.bias": None}, "lack 'layer2.0.bn1.bias', which the policy's network has"),
        (
            {"layer3.0.conv1.weight": torch.ones(1)},
            "hold 'layer3.0.conv1.weight', which the policy's network",
        ),
        (
            {"conv1.weight": torch.ones(8, 4, 7, 7)},
            r"'conv1.weight' has shape \[8, 4, 7, 7\].* \[8, 3, 7, 7\]",
        ),
        ({"bn1.bias": torch.full((8,), torch.nan)}, "'bn1.bias' holds NaN"),
        ({"bn1.bias": torch.ones(8, dtype=torch.int64)}, "'bn1.bias' holds .*whole numbers"),
    ],
)
def test_what_does_not_fit_is_named_and_changes_nothing(change, words):
    weights = {**torchvision_weights(), **change}
    network = ResNet(**TINY)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(UserError, match=words) as error:
        load_resnet(network, {name: weight for name, weight in weights.items() if weight is not None}, "w.pt")
    assert "\n" not in str(error.value) and "w.pt" in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Bomb:
    def __reduce__(self):
        return (print, ("boom",))


def write(path, content):
    path.write_bytes(content)
    return path


def header(text, numbers=b""):
    return len(text).to_bytes(8, "little") + text + numbers


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("w.pt", b"nonsense"),
        ("w.pt", pickle.dumps(Bomb())),
        ("w.safetensors", b""),
        ("w.safetensors", b"\xff" * 64),
        ("w.safetensors", header(b"{")),
        ("w.safetensors", header(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', b"0000")),
        ("w.safetensors", header(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', b"0000")),
        ("w.safetensors", header(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[4,0]}}', b"0000")),
        ("w.safetensors", header(b'{"a":{"dtype":"I1","shape":[1],"data_offsets":[0,4]}}', b"0000")),
        ("w.safetensors", header(b'["a"]')),
    ],
)
def test_damaged_and_foreign_files_are_refused(tmp_path, name, content, capsys):
    with pytest.raises(UserError, match="damaged") as error:
        read_weights(write(tmp_path / name, content))
    assert "\n" not in str(error.value)
    assert "boom" not in capsys.readouterr().out


def test_other_refusals(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read_weights(tmp_path / "none.pt")
    for content in ({"model": nn.Linear(1, 1).state_dict()}, {1: torch.ones(1)}):
        torch.save(content, tmp_path / "unnamed.pt")
        with pytest.raises(UserError, match="holds no tensors by name"):
            read_weights(tmp_path / "unnamed.pt")


def test_one_bit_after_the_other_cut_off(tmp_path):
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"a": torch.arange(6.0)}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        with pytest.raises(UserError):
            read_weights(write(path, whole[:length]))
