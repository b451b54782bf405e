import subprocess
from pathlib import Path

import pytest

from robofb import __version__, provenance
from robofb.provenance import describe, made_with, origin

FACTS = {
    "id": "a",
    "started": "2026-01-02T03:04:05+00:00",
    "argv": ["robofb", "collect", "out=my data"],
    "git": {"commit": "abc", "dirty": True},
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "machine": {"system": "Linux", "processor": "EPYC", "cores": 2, "memory_gib": 23.5, "gpus": ["H200"]},
}


def test_origin_is_readable():
    rows = origin(FACTS, "run")
    assert rows["command of the run"] == "robofb collect 'out=my data'"
    assert rows["commit of the run"] == "abc, with changes that are not committed"
    assert rows["machine of the run"] == "2 cores of EPYC, 23.5 GiB, Linux"
    assert rows["GPU of the run"] == "H200"
    assert rows["versions of the run"] == "python 3.11.7, torch 2.13.0"


def test_this_machine_can_be_told():
    assert all(text and "{" not in text for text in origin(describe(), "run").values())


def test_a_dataset_says_which_code_made_it():
    found = made_with()
    assert found["robofb"] == __version__
    root = Path(provenance.__file__).parent
    done = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a checkout")
    assert found["commit"] == done.stdout.strip()
    assert found["dirty"] in (True, False)
    assert made_with() == found  # so that an edit that was killed gives the same files
