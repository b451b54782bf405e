"""Whether torch can compile here."""

from __future__ import annotations

import os
import subprocess
import sys

import torch

from robofb.errors import UserError


def check_compiler(device: torch.device) -> None:
    """Refuse to compile for a device where the C++ compiler, which a CPU's programs need, does not run.

    Raises:
        UserError: there is none.
    """
    if device.type == "cuda":
        return
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    try:
        subprocess.run([name, "--version"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        raise UserError(
            f"torch.compile needs a C++ compiler and finds no {name} that runs: "
            "install it, or name one in CXX"
        ) from None
