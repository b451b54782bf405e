"""Start a ResNet from weights in a file that has torchvision's names of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from robofb.errors import UserError
from robofb.nets.vision import ResNet

_UNUSED = re.compile(r"(^|\.)(running_mean|running_var|num_batches_tracked)$|^fc\.")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read named tensors from a .safetensors file, or from one that torch saved; nothing in it is run.

    Raises:
        UserError: the file is missing, damaged, or holds something else.
    """
    path = Path(path).expanduser()
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"cannot read weights {path}: {error.strerror or error}") from error
    except Exception as error:  # both readers raise a dozen types for damaged or foreign files
        raise UserError(f"weights {path} are damaged, or no .safetensors and no file of torch") from error
    named = isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )
    if not named:
        raise UserError(f"weights {path}: holds no tensors by name; save a model's state_dict()")
    return dict(content)


def load_resnet(network: ResNet, weights: Mapping[str, Tensor], where: str | Path) -> None:
    """Copy weights with torchvision's names into a network; all of them or none.

    Convolutions are taken as they are. Of each batch normalisation, scale and shift become those of the
    group normalisation in its place, and the running statistics are left out: groups are measured anew in
    every image. So the features are not the ones that were trained, only a better start than chance. The
    classifier `fc` is left out.

    Args:
        weights: such as torchvision's resnet18.
        where: the weights come from, for messages.

    Raises:
        UserError: a weight is missing, left over, of another shape, or not finite; names it as the file does.
    """
    own = {_torchvision_name(name): weight for name, weight in network.state_dict().items()}
    given = {name: weight for name, weight in weights.items() if not _UNUSED.search(name)}
    for name, weight in own.items():
        if name not in given:
            raise UserError(f"weights {where} lack '{name}', which the policy's network has")
        found = given[name]
        if found.shape != weight.shape:
            shapes = f"{list(found.shape)}, the policy's network needs {list(weight.shape)}"
            raise UserError(f"weights {where}: '{name}' has shape {shapes}")
        if not found.is_floating_point() or not torch.isfinite(found).all():
            raise UserError(f"weights {where}: '{name}' holds NaN, infinity or whole numbers")
    if left_over := sorted(given.keys() - own.keys()):
        raise UserError(f"weights {where} hold '{left_over[0]}', which the policy's network lacks")
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(given[name])


def _torchvision_name(name: str) -> str:
    """Return torchvision's name of a weight of ours: stages.0.1.norm2.bias is layer1.1.bn2.bias."""
    name = re.sub(r"^stages\.(\d+)\.", lambda match: f"layer{int(match[1]) + 1}.", name)
    return re.sub(r"\bnorm(\d)", r"bn\1", name)
