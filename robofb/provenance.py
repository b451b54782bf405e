"""Record what a run was made with: code, versions, machine, command line."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import subprocess
import sys
import uuid
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

MADE_WITH = "made_with"  # key in the meta of a dataset
PACKAGES = (
    *("torch", "mujoco", "mujoco-warp", "warp-lang", "gymnasium"),
    *("numpy", "zarr", "numcodecs", "hydra-core", "omegaconf"),
)


def versions() -> dict[str, str]:
    """Return the versions of Python, robofb and the packages that can change a result."""
    from robofb import __version__

    found = {"python": platform.python_version(), "robofb": __version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_state() -> dict[str, Any]:
    """Return the commit robofb's source stands at and whether it was changed; None where unknown."""
    source = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(source), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # an installed copy may lie in another repo
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


@functools.cache
def made_with() -> dict[str, Any]:
    """Return what a dataset keeps of the code that made it: robofb's version and commit, MuJoCo's version.

    Nothing in it changes from one moment to the next, so that the same work gives the same files.
    """
    found = versions()
    return {**{name: found[name] for name in ("robofb", "mujoco")}, **git_state()}


def machine() -> dict[str, Any]:
    """Return the operating system, processor, memory [GiB] and GPUs."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": memory,
        "gpus": gpus,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe() -> dict[str, Any]:
    """Return all of it, with the time and a fresh identity for the run."""
    return {
        "id": uuid.uuid4().hex[:12],
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "argv": list(sys.argv),
        "git": git_state(),
        "versions": versions(),
        "machine": machine(),
    }


def origin(facts: Mapping[str, Any], of: str) -> dict[str, str]:
    """Return what `describe` found as short texts by name, for people.

    Args:
        of: what was made, such as "training"; part of the names.
    """
    git, machine, gpus = facts["git"], facts["machine"], facts["machine"]["gpus"]
    changed = ", with changes that are not committed" if git["dirty"] else ""
    memory = "" if machine["memory_gib"] is None else f", {machine['memory_gib']} GiB"
    rows = {
        "started": facts["started"],
        "command": shlex.join(facts["argv"]),
        "commit": f"{git['commit']}{changed}" if git["commit"] else "not run from a checkout",
        "machine": f"{machine['cores']} cores of {machine['processor']}{memory}, {machine['system']}",
        "GPU": ", ".join(gpus) or "none",
        "versions": ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
    }
    return {f"{name} of the {of}": text for name, text in rows.items()}
