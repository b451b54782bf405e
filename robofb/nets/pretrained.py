"""Start a ResNet from weights in a file that has torchvision's names of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.nets.vision import ResNet

_UNUSED = re.compile(r"(^|\.)(running_mean|running_var|num_batches_tracked)$|^fc\.")
_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_COUNTS = {"I64": torch.int64}  # num_batches_tracked
_MOST_HEADER_BYTES = 100_000_000  # the format's own bound


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read named tensors from a .safetensors file, or from one that torch saved; nothing in it is run.

    Raises:
        UserError: the file is missing, damaged, or holds something else.
    """
    path = Path(path).expanduser()
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path.read_bytes())
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"cannot read weights {path}: {error.strerror or error}") from error
    except Exception as error:  # torch raises a dozen types for damaged or foreign files
        raise UserError(f"weights {path} are damaged, or no .safetensors and no file of torch") from error
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
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


def _read_safetensors(content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file: length of the header (8 bytes), header in JSON, numbers."""
    size = int.from_bytes(content[:8], "little")
    if not 2 <= size <= min(_MOST_HEADER_BYTES, len(content) - 8):
        raise ValueError("no header")
    header = json.loads(content[8 : 8 + size])
    numbers = memoryview(content)[8 + size :]
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype, shape = {**_TYPES, **_COUNTS}[entry["dtype"]], [int(length) for length in entry["shape"]]
        first, last = entry["data_offsets"]
        if last - first != math.prod(shape) * dtype.itemsize or not 0 <= first <= last <= len(numbers):
            raise ValueError(f"{name} has another size than its shape")
        data = bytearray(numbers[first:last])
        tensors[name] = (
            torch.frombuffer(data, dtype=dtype).reshape(shape) if data else torch.empty(shape, dtype=dtype)
        )
    return tensors
