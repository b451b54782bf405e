"""Find out what works on this machine, and how to fix what does not."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

OK, MISSING, BROKEN = "ok", "missing", "broken"
_MARKS = {OK: "ok     ", MISSING: "-      ", BROKEN: "BROKEN "}
FREE_GIB_NEEDED = 2.0
_RENDER = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><light pos="0 0 3"/><geom size="1" rgba="1 0 0 1"/>'
    '<camera name="c" pos="0 -4 0" xyaxes="1 0 0 0 0 1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 32, 32)
renderer.update_scene(data, "c")
assert renderer.render().max() > 0
"""
_RENDER_FIX = (
    "without it no videos and no image observations; on Debian or Ubuntu: "
    "apt install libegl1 libegl-mesa0 libgl1-mesa-dri   (or libosmesa6)"
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        status: "ok"; "missing" where only something optional is; "broken" where robofb needs it.
        detail: what was found.
        fix: what to do, empty where nothing is to be done.
    """

    name: str
    status: str
    detail: str
    fix: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return JSON-ready values."""
        return asdict(self)


def diagnose() -> list[Finding]:
    """Look at everything; never raises for what it finds."""
    checks: list[Callable[[], list[Finding]]] = [
        _python,
        _packages,
        _pins,
        _hardware,
        _engines,
        _renderers,
        _video_encoder,
        _devices,
        _disk,
    ]
    return [finding for check in checks for finding in check()]


def format_findings(findings: list[Finding], well: str = "robofb works on this machine") -> str:
    """Return the findings as aligned lines, each fix below its finding, the verdict last: `well` or not."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{_MARKS[finding.status]}{finding.name:<{width}}  {finding.detail}")
        if finding.fix:
            lines.append(f"{'':<{width + 9}}fix: {finding.fix}")
    broken = [finding.name for finding in findings if finding.status == BROKEN]
    verdict = f"Broken: {', '.join(broken)}." if broken else f"{well}."
    return "\n".join([*lines, "", verdict])


def _python() -> list[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    works = sys.version_info >= (3, 11)
    return [
        Finding("python", OK if works else BROKEN, version, "" if works else "install Python 3.11 or newer")
    ]


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> list[Finding]:
    """Hold the installed packages to the ranges that robofb declares."""
    try:
        declared = [Requirement(text) for text in metadata.requires("robofb") or []]
    except metadata.PackageNotFoundError:
        return [Finding("robofb", BROKEN, "runs from its source, not installed", "pip install -e .")]
    findings = [Finding("robofb", OK, metadata.version("robofb"))]
    for wanted in declared:
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        have = _installed(wanted.name)
        if have is None:
            findings.append(Finding(wanted.name, BROKEN, "not installed", f"pip install '{wanted}'"))
        elif not wanted.specifier.contains(have, prereleases=True):
            findings.append(Finding(wanted.name, BROKEN, have, f"pip install '{wanted}'"))
        else:
            findings.append(Finding(wanted.name, OK, have))
    return findings


def _pins() -> list[Finding]:
    """Compare with constraints.txt, where this is a checkout that has it."""
    file = Path(__file__).resolve().parents[1] / "constraints.txt"
    if not file.is_file():
        return []
    different = []
    for name, pinned in re.findall(r"^([\w.-]+)==(\S+)$", file.read_text(), flags=re.MULTILINE):
        have = _installed(name)
        if have is not None and have.partition("+")[0] != pinned:
            different.append(f"{name} {have} (tried with {pinned})")
    if not different:
        return [Finding("pins", OK, "all installed packages are those of constraints.txt")]
    return [Finding("pins", MISSING, ", ".join(different), "pip install -c constraints.txt -e .")]


def _hardware() -> list[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    findings = [Finding("cpu", OK, f"{cores} cores, torch uses {torch.get_num_threads()} threads")]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return [*findings, Finding("gpu", OK, f"{', '.join(names)} (CUDA {torch.version.cuda})")]
    build = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is a CPU build"
    return [
        *findings,
        Finding("gpu", MISSING, f"no CUDA device; {build}. Everything runs on the CPU, slower"),
    ]


def _engines() -> list[Finding]:
    code = "import mujoco.batch"
    error = _run(code)
    fix = "pip install 'mujoco>=3.17'"
    findings = [
        Finding("engine mujoco", BROKEN, error, fix) if error else Finding("engine mujoco", OK, "works")
    ]
    if importlib.util.find_spec("mujoco_warp") and importlib.util.find_spec("warp"):
        note = f"warp {_installed('warp-lang')} is installed; engine=warp is worth it on a GPU"
        return [*findings, Finding("engine warp", OK, note)]
    note = "MuJoCo Warp is not installed; only thousands of worlds on a GPU need it"
    return [*findings, Finding("engine warp", MISSING, note, "pip install 'robofb[gpu]'")]


def _renderers() -> list[Finding]:
    """Try each OpenGL backend in a process of its own: a broken one may end the process."""
    errors = {backend: _run(_RENDER, MUJOCO_GL=backend) for backend in ("egl", "osmesa", "glfw")}
    works = [backend for backend, error in errors.items() if not error]
    if works:
        return [Finding("renderer", OK, ", ".join(works))]
    return [Finding("renderer", MISSING, "none of egl, osmesa, glfw works", _RENDER_FIX)]


def _run(code: str, **environment: str) -> str:
    """Run Python code in another process; return its last line of error, empty where it worked."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            cwd=tempfile.gettempdir(),
            capture_output=True,
            text=True,
            timeout=120,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"ended with code {done.returncode}"


def _video_encoder() -> list[Finding]:
    """Look for an ffmpeg that can write what browsers play."""
    fix = "pip install imageio-ffmpeg"
    try:
        import imageio_ffmpeg

        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
        encoders = subprocess.run([ffmpeg, "-encoders"], capture_output=True, text=True, timeout=60).stdout
    except (ImportError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        return [Finding("video", MISSING, f"no ffmpeg ({str(error).splitlines()[0]})", fix)]
    if "libx264" not in encoders:
        return [Finding("video", MISSING, f"{ffmpeg} has no libx264", fix)]
    return [Finding("video", OK, "ffmpeg with libx264")]


def _devices() -> list[Finding]:
    """List what Linux shows of cameras and gamepads; only recording and deployment need them."""
    found = {
        kind: sorted(str(path) for path in Path("/dev").glob(pattern))
        for kind, pattern in (("cameras", "video*"), ("gamepads", "input/js*"))
    }
    detail = "; ".join(f"{kind}: {', '.join(paths) or 'none'}" for kind, paths in found.items())
    return [Finding("devices", OK if any(found.values()) else MISSING, detail)]


def _disk() -> list[Finding]:
    free_gib = shutil.disk_usage(Path.cwd()).free / 2**30
    detail = f"{free_gib:.1f} GiB free in {Path.cwd()}"
    if not os.access(Path.cwd(), os.W_OK):
        return [Finding("disk", BROKEN, f"{Path.cwd()} is read-only", "work in a folder that you can write")]
    if free_gib < FREE_GIB_NEEDED:
        return [Finding("disk", BROKEN, detail, f"free at least {FREE_GIB_NEEDED:g} GiB")]
    return [Finding("disk", OK, detail)]
