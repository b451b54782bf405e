"""Find MuJoCo Warp and a device for it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from robofb.errors import UserError

LOG = logging.getLogger(__name__)


def import_warp() -> tuple[Any, Any, Any]:
    """Return the modules warp, mujoco_warp and our kernels.

    Raises:
        UserError: they are not installed.
    """
    try:
        import warp

        warp.config.log_level = warp.LOG_WARNING  # else it prints every kernel that it loads
        warp.init()
        import mujoco_warp

        from robofb.sim import warp_kernels
    except ImportError as error:
        raise UserError(f"engine warp needs MuJoCo Warp ({error}): pip install 'robofb[gpu]'") from error
    return warp, mujoco_warp, warp_kernels


def tell_of_compiling(device: torch.device, wp: Any) -> None:
    """Log that the first control step takes long, where this machine has not compiled for the device yet."""
    compiled = ["*.o"] if device.type == "cpu" else ["*.cubin", "*.ptx"]
    cache = Path(wp.config.kernel_cache_dir)
    if not any(any(cache.glob(f"wp_mujoco_warp*/{pattern}")) for pattern in compiled):
        LOG.info("MuJoCo Warp compiles its kernels for %s, once on this machine: about a minute", device)


def find_device(name: str, wp: Any) -> torch.device:
    """Return the device that a config names.

    Raises:
        UserError: the name is none, or PyTorch or Warp cannot use the device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() and wp.is_cuda_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and (kind == "cpu" or not index.isdecimal())):
        raise UserError(f"engine.device must be auto, cpu, cuda or cuda:<number>, not {name!r}")
    if kind == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if wp.is_cuda_available() else 0
    if not count:
        raise UserError(f"engine.device={name}: no GPU is usable here; try engine.device=cpu")
    number = int(index) if index else torch.cuda.current_device()  # a rank's own: see `join_ranks`
    if number >= count:
        raise UserError(f"engine.device={name}: {count} GPUs are usable here, counted from 0")
    return torch.device("cuda", number)
