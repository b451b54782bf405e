import importlib
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["envs", "deploy", "configs"])
def test_link_is_relative_and_resolves_to_the_folder_at_the_top(name):
    link = ROOT / "robofb" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../{name}"
    assert link.resolve() == ROOT / name
    assert (link / "__init__.py").is_file()


@pytest.mark.parametrize("name", ["envs", "deploy", "configs"])
def test_package_is_imported_through_its_link(name):
    module = importlib.import_module(f"robofb.{name}")
    assert module.__name__ == f"robofb.{name}"
    assert Path(module.__file__).resolve() == ROOT / name / "__init__.py"


def test_every_python_folder_is_a_package():
    folders = {
        file.parent
        for top in ("robofb", "envs", "deploy")
        for file in (ROOT / top).rglob("*.py")
        if "__pycache__" not in file.parts
    }
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []
    assert len(folders) > 10
