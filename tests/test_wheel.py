"""Build wheel and sdist from a copy of the sources, and use the wheel far away from them."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "robofb", "envs", "deploy", "configs")
BUILD = "from setuptools import build_meta; build_meta.build_{kind}({folder!r})"
USE = """
import pathlib, sys
import robofb
assert pathlib.Path(robofb.__file__).is_relative_to(sys.prefix), robofb.__file__
from robofb.config import compose
from robofb.verbs import VERBS
given = {"train_bc": ["data=x"], "train_dagger": ["data=x", "expert=x"], "eval": ["run=x"]}
given |= {"deploy": ["run=x"], "deploy_replay": ["data=x"], "deploy_server": ["run=x"]}
given |= {"train_tgrl": [], "train_agents": [], "train_borel": ["logs=x"]}
for verb in VERBS:
    compose(verb, given.get(verb, ["base=x"] if verb.startswith("train_") else []))
from hydra.utils import instantiate
from robofb.sim.vec_env import SimVecEnv
cfg = compose("collect")
env = SimVecEnv(instantiate(cfg.task), 2, engine=instantiate(cfg.engine))
obs = env.reset(0)
expert = env.task.expert(2, 0.0)
import torch
expert.reset(torch.ones(2, dtype=torch.bool), env.episode_seed)
step = env.step(expert.next(obs))
assert step.info["length"].tolist() == [1, 1]
assert all(torch.isfinite(value).all() for value in step.obs.values())
from robofb.report import ReportData, render
assert ":root" in render(ReportData("t"))
print("used", robofb.__file__)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """Return the wheel built from a copy of the sources, the sdist, and the wheel built from the sdist."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, source / name)
    dist = tmp_path_factory.mktemp("dist")
    sdist = build("sdist", source, dist)
    wheel = build("wheel", source, dist)
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Debian 12's 3.11.2 has none
        archive.extractall(unpacked, **safely)
    again = tmp_path_factory.mktemp("again")
    return {"sdist": sdist, "wheel": wheel, "again": build("wheel", next(unpacked.iterdir()), again)}


def build(kind: str, source: Path, folder: Path) -> Path:
    before = set(folder.iterdir())
    code = BUILD.format(kind=kind, folder=str(folder))
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = set(folder.iterdir()) - before
    return made


def wheel_files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def expected_files() -> set[str]:
    """Return what of the checkout belongs into the wheel, as seen through the links."""
    return {
        file.relative_to(ROOT).as_posix()
        for folder in ("robofb", "robofb/envs", "robofb/deploy", "robofb/configs")
        for pattern in ("*.py", "*.yaml", "*.css", "*.html", "*.js", "*.svg", "py.typed")
        for file in (ROOT / folder).rglob(pattern)
        if "__pycache__" not in file.parts
    }


def test_wheel_holds_every_module_and_config_under_one_name(built):
    files = {name for name in wheel_files(built["wheel"]) if ".dist-info/" not in name}
    assert files == expected_files()
    assert {name.split("/")[0] for name in files} == {"robofb"}
    assert "robofb/configs/task/one_leg_insert.yaml" in files
    assert "robofb/envs/furniture/one_leg_insert.py" in files


def test_sdist_carries_all_of_it_and_builds_the_same_wheel(built):
    assert wheel_files(built["again"]) == wheel_files(built["wheel"])


def test_wheel_names_its_licence_command_and_extras(built):
    with zipfile.ZipFile(built["wheel"]) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith("METADATA"))
        text = archive.read(metadata).decode()
        entry_points = archive.read(metadata.replace("METADATA", "entry_points.txt")).decode()
    assert "License-Expression: Apache-2.0" in text
    assert "Requires-Python: >=3.11" in text
    assert "Provides-Extra: dev\n" in text
    assert "robofb = robofb.cli:main" in entry_points


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """Return the bin folder of a new venv with our wheel, which sees this venv's other packages."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False)
    inside = {"base": str(home), "platbase": str(home)}
    site = Path(sysconfig.get_path("purelib", vars=inside))
    pip = [sys.executable, "-m", "pip", "--python", home / "bin" / "python", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", built["wheel"]], check=True, capture_output=True)
    here = sysconfig.get_path("purelib")
    (site / "zz_others.pth").write_text(f"import sys; sys.path.append({here!r})\n")
    return home / "bin"


def outside(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def test_installed_wheel_composes_every_config_and_steps_a_task(installed, tmp_path):
    done = outside(installed / "python", "-c", USE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"used {installed.parent}")


def test_installed_command_prints_its_help(installed, tmp_path):
    done = outside(installed / "robofb", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "quickstart" in done.stdout
