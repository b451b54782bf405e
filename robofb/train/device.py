"""Where a training computes, in which precision, on how many threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from robofb.errors import UserError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def choose_device(name: str) -> torch.device:
    """Return the device called `name`, or the best one there is for "auto"."""
    have = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if name == "auto":
        return torch.device("cuda" if len(have) > 1 else "cpu")
    if name not in have and not (name == "cuda" and len(have) > 1):
        raise UserError(f"device={name}: this machine has {', '.join(have)}")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the type called `name`; "auto" is bfloat16 on GPUs and CPUs that have instructions for it."""
    if name != "auto":
        return PRECISIONS[name]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        native = any(capabilities.get(feature) for feature in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if native else torch.float32


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads within the block; 0 changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
