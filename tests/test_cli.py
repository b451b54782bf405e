import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from robofb import __version__, cli
from robofb.verbs import VERBS

COMMAND = [sys.executable, "-m", "robofb.cli"]


def robofb(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, **options)


def test_help_lists_the_verbs_without_importing_torch():
    program = "import sys; from robofb import cli; cli.run(['--help']); print([*sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = done.stdout.splitlines()[-1]
    assert "'robofb.verbs'" in imported
    assert not any(f"'{package}'" in imported for package in ("torch", "hydra", "mujoco", "robofb.config"))
    for word in ("quickstart", "collect arm", "deploy server", "train", "eval", "data", "assets", "doctor"):
        assert word in done.stdout


def test_version(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"robofb {__version__}\n"


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_help_of_every_verb_lists_its_keys(verb, capsys):
    from robofb.config import key_help

    assert cli.run([*verb.split("_"), "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Usage: robofb {VERBS[verb].name} [OPTIONS] [KEY=VALUE]..." in text
    for key in key_help(verb):
        assert f"\n  {key.name}={key.default}\n" in text


def test_help_offers_what_a_verb_takes(capsys):
    """A group that may be left out is one that other keys come from, and none of its choices says nothing."""
    assert cli.run(["deploy", "--help"]) == 0
    text = capsys.readouterr().out
    assert "choices: auto, gamepad, keyboard, spacemouse, web\n" in text
    assert "\n  camera=null\n" in text and "choices: file, http, opencv, realsense, sim, synthetic\n" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "No such command 'trian'"),
        (["train", "bd"], "No such command 'bd'"),
        (["eval", "--run", "x"], "No such option: --run"),
        (["deploy", "doctor", "--run"], "(try 'robofb deploy doctor --help')"),
        (["eval", "rn=x"], "eval has no key 'rn', did you mean 'run'?"),
        (["eval", "run=/nonexistent/run"], "no run at /nonexistent/run: no such folder"),
        (["collect", "task=nothing"], "task=nothing: no such task"),
        (["data", "info", "/nonexistent/data"], "/nonexistent/data"),
        (["data", "info", ""], "word 3 of the command is empty: give a path or value"),
        (["data", "view", "", "--port", "80"], "word 3 of the command is empty: give a path or value"),
        (["data", "doctor", "", "--json"], "word 3 of the command is empty: give a path or value"),
        (["data", "convert", "a", "--out="], "--out= needs a path or value"),
        (["eval", "run=x", "seed=1,b", "-m"], "seed=b: needs a whole number"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("robofb: ")
    assert words in error
    assert error.count("\n") == 1


def test_a_mistake_prints_no_traceback_from_the_shell(tmp_path):
    done = robofb("eval", "run=nowhere", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "robofb: no run at nowhere: no such folder\n"
    assert list(tmp_path.iterdir()) == []


def test_cfg_prints_the_config_and_runs_nothing(capsys):
    import yaml

    assert cli.run(["eval", "run=x", "seed=5", "--cfg"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["run"], printed["seed"]) == ("x", 5)
    assert printed["engine"]["_target_"] == "robofb.sim.mujoco_engine.MujocoEngine"


def test_programming_errors_are_not_hidden(monkeypatch):
    monkeypatch.setitem(sys.modules, "robofb.doctor", None)
    with pytest.raises(ImportError):
        cli.run(["doctor"])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError("Unable to allocate 7.3 EiB for an array"), 2),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes\nBacktrace:\n"), 2),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 TiB"), 2),
        (RuntimeError("something else"), None),
    ],
)
def test_more_memory_than_there_is(error, code, capsys, monkeypatch):
    def fail():
        raise error

    monkeypatch.setattr("robofb.doctor.diagnose", fail)
    if code is None:
        with pytest.raises(RuntimeError, match="something else"):
            cli.run(["doctor"])
        return
    assert cli.run(["doctor"]) == code
    line = str(error).splitlines()[0]
    assert capsys.readouterr().err == f"robofb: more memory is asked for than there is: {line}\n"


def test_collect_and_data_info_from_the_shell(tmp_path):
    words = ["task=one_leg_insert", "episodes=2", "num_envs=4", "noise=0.5", "out=demos"]
    done = robofb("collect", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(robofb("data", "info", "demos", "--json", cwd=tmp_path).stdout)
    assert (facts["task"], facts["episodes"], facts["successes"]) == ("one_leg_insert", 2, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demos"]


def test_ctrl_c_ends_with_130_and_keeps_the_episodes(tmp_path):
    words = ["collect", "episodes=5000", "num_envs=4", "noise=0.5", "out=demos"]
    heed_ctrl_c = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    )
    try:
        deadline = time.monotonic() + 90
        while not has_episodes(tmp_path / "demos") and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in error
    assert json.loads(robofb("data", "info", "demos", "--json", cwd=tmp_path).stdout)["episodes"] > 0


def has_episodes(folder: os.PathLike) -> bool:
    from robofb.errors import UserError
    from robofb.store.info import describe

    try:
        return describe(folder)["episodes"] > 0
    except (UserError, OSError):
        return False


def test_joblib_sweep_runs_in_parallel_processes(tmp_path):
    words = ["collect", "episodes=1", "num_envs=2", "noise=0.5", "out=demos_${seed}", "seed=1,2"]
    done = robofb(*words, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "-m", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demos_1", "demos_2", "runs"]
