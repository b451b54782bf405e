"""What the documents tell a user to type, typed."""

import re
import shlex
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch

from robofb.interfaces import EnvMaker, TaughtTask

ROOT = Path(__file__).resolve().parents[1]
WALK = re.search(r"```\n(robofb collect.*?)```", (ROOT / "docs/bring_your_data.md").read_text(), re.DOTALL)[1]

OWN_WORLD = re.search(
    r"```python\n(import torch.*?)```", (ROOT / "docs/teacher_environments.md").read_text(), re.DOTALL
)[1]


def start(line: str, folder: Path) -> subprocess.Popen:
    words = [sys.executable, "-u", "-m", "robofb.cli", *shlex.split(line)[1:]]
    return subprocess.Popen(
        words,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
    )


@pytest.mark.slow
def test_the_walk_from_a_foreign_file_to_a_policy(tmp_path):
    said = {}
    for line in WALK.splitlines():
        process = start(line, tmp_path)
        if line.startswith("robofb data view"):
            said[line] = process.stdout.readline()
            process.send_signal(signal.SIGINT)
        said[line] = said.get(line, "") + process.communicate(timeout=300)[0]
        assert process.returncode in (0, 130 if "view" in line else 0), f"{line}\n{said[line]}"
    told = "\n".join(said.values())
    assert "10 episodes" in told  # imported
    assert "10 of 10 episodes sound" in told
    assert "http://" in told  # the viewer's address
    assert "bottlenecks in 10 episodes" in told
    assert "snippets in data/legs_more: 10" in told
    assert re.search(r"success \d+\.\d % \(\d+/16", told)
    assert (tmp_path / "doctor.html").read_text().count("<svg") >= 2


def test_the_world_that_is_shown_whole_can_be_solved_by_its_teacher():
    made = {}
    exec(OWN_WORLD, made)
    task = made["Walk"]()
    teacher = task.teacher()
    with closing(task.make_env(16)) as env:
        obs = env.reset(0)
        succeeded = torch.zeros(16, dtype=torch.bool)
        for _ in range(task.spec.max_steps):
            step = env.step(teacher.answer(obs))
            succeeded, obs = succeeded | step.info["success"], step.obs
    assert isinstance(task, EnvMaker) and isinstance(task, TaughtTask) and succeeded.all()
