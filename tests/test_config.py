import importlib
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf

from robofb.config import check, compose, find_verb, key_help, load_object, sweep
from robofb.errors import UserError
from robofb.run import Run
from robofb.verbs import VERBS

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
REQUIRED = {"data": "data/x", "base": "runs/x", "run": "runs/x"}


def names(group: str) -> list[str]:
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))


def words(verb: str, *more: str) -> list[str]:
    """Return the overrides without which a verb refuses, and `more`."""
    schema = {field.name for field in fields(load_object(VERBS[verb].schema))}
    return [f"{key}={value}" for key, value in REQUIRED.items() if key in schema] + list(more)


def message(verb: str, *overrides: str) -> str:
    with pytest.raises(UserError) as error:
        compose(verb, overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_verb_has_its_config_dataclass_and_entry(verb):
    assert (CONFIGS / f"{verb}.yaml").is_file()
    assert callable(load_object(VERBS[verb].entry))
    undocumented = [key.name for key in key_help(verb) if not key.doc]
    assert undocumented == []


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_config_composes_with_every_choice_of_every_group(verb):
    cfg = compose(verb, words(verb))
    for group in ("task", "policy", "engine"):
        if OmegaConf.is_config(cfg.get(group)):  # the quickstart has names there
            for name in names(group):
                chosen = compose(verb, words(verb, f"{group}={name}"))[group]
                assert chosen == OmegaConf.load(CONFIGS / group / f"{name}.yaml")


@pytest.mark.parametrize("name", names("preset"))
def test_every_preset_composes_and_says_its_name(name):
    assert compose("train_residual", ["base=x", f"preset={name}"]).preset == name


def test_a_task_can_be_left_out():
    assert compose("train_bc", ["data=x", "task=null"]).task is None


def test_every_primary_config_belongs_to_a_verb():
    assert {file.stem for file in CONFIGS.glob("*.yaml")} == set(VERBS)


@pytest.mark.parametrize(
    "file",
    sorted(file for file in CONFIGS.glob("*/*.yaml") if file.parent.name != "preset"),
    ids=lambda file: f"{file.parent.name}/{file.stem}",
)
def test_every_target_exists_and_takes_the_values_given(file):
    targets = list(find_targets(yaml.safe_load(file.read_text())))
    assert targets
    for target in targets:
        module, _, name = target.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


def find_targets(node):
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        for value in node.values():
            yield from find_targets(value)


@pytest.mark.parametrize("name", names("task"))
def test_task_is_built_from_its_config_and_bears_its_name(name):
    task = instantiate(compose("collect", [f"task={name}"]).task)
    assert task.spec.task == name


def test_overrides_reach_the_config_and_leave_the_rest():
    plain, changed = compose("eval", words("eval")), compose("eval", words("eval", "episodes=7", "seed=3"))
    assert (changed.episodes, changed.seed) == (7, 3)
    assert {key for key in plain if plain[key] != changed[key]} == {"episodes", "seed"}


class TestMistakes:
    def test_key(self):
        text = message("eval", "run=x", "epsodes=3")
        assert text.startswith("eval has no key 'epsodes', did you mean 'episodes'? valid: ")
        valid = {field.name for field in fields(load_object(VERBS["eval"].schema))}
        assert set(text.partition("valid: ")[2].split(", ")) == valid

    def test_added_key(self):
        assert "eval has no key 'epsodes', did you mean" in message("eval", "run=x", "+epsodes=3")

    def test_removed_key(self):
        assert message("eval", "run=x", "~seed") == "eval cannot do without 'seed'"

    def test_inner_key(self):
        text = message("collect", "task.randomnes=low")
        assert text.startswith("collect: task has no key 'randomnes', did you mean 'randomness'? valid: ")
        assert "_target_" not in text

    def test_key_inside_a_plain_value(self):
        text = message("collect", "task.max_steps.x=1")
        assert text == "collect: 'task.max_steps.x' does not exist, 'max_steps' holds a plain value"

    @pytest.mark.parametrize("plus", ["", "+", "++"])
    def test_free_groups_take_any_key(self, plus):
        cfg = compose("quickstart", [f"{plus}residual.clip=0.3", "residual.time_limit_s=9"])
        assert (cfg.residual.clip, cfg.residual.time_limit_s) == (0.3, 9)

    def test_choice(self):
        text = message("collect", "task=one_leg_inser")
        assert text.startswith("task=one_leg_inser: no such task, did you mean 'one_leg_insert'? valid: ")

    @pytest.mark.parametrize(
        ("word", "expected"),
        [
            ("episodes=many", "episodes=many: needs a whole number"),
            ("episodes=2.5", "episodes=2.5: needs a whole number"),
            ("episodes=", "episodes=: needs a whole number"),
            ("episodes=null", "episodes=null: needs a value, not null"),
            ("video=maybe", "video=maybe: needs true or false"),
        ],
    )
    def test_value(self, word, expected):
        assert message("eval", "run=x", word) == expected

    def test_missing_value_is_named_and_explained(self):
        assert message("eval").startswith("eval needs run=... (")

    @pytest.mark.parametrize("word", ["episodes", "episodes==3", "--episodes", "[1", "seed=[1"])
    def test_unreadable_word(self, word):
        assert message("eval", "run=x", word).startswith(f"cannot read '{word}': write key=value")

    def test_several_values_without_a_sweep(self):
        assert "seed=1,2 holds several values: add -m" in message("eval", "run=x", "seed=1,2")

    def test_verb(self):
        with pytest.raises(UserError, match=r"no config for 'trian'; valid: .*train_bc"):
            find_verb("trian")


@pytest.mark.parametrize(
    "path", ["runs/lr=0.1", "a b", "data (1)", "ünï", "it's", "a\\b", "x:y", "[1]", "null2", "1e3"]
)
def test_paths_need_no_quotes(path):
    assert compose("eval", [f"run={path}"]).run == path


def test_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert compose("eval", ["run=~/runs/a"]).run == "/home/someone/runs/a"


def test_composing_one_verb_imports_no_other():
    program = """
import sys
from robofb.config import compose
compose("eval", ["run=x"])
foreign = ("robofb.train", "robofb.deploy.", "robofb.envs", "wandb", "diffusers")
print([name for name in sys.modules if name.startswith(foreign)])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestResume:
    @pytest.fixture
    def run(self, tmp_path):
        cfg = compose("train residual", ["base=runs/x", "num_envs=9", "seed=4", "task.randomness=high"])
        with Run.create(tmp_path / "run", cfg, "residual") as run:
            return run

    def test_takes_the_runs_own_config(self, run):
        cfg = compose("train residual", [f"resume={run.path}"])
        assert (cfg.base, cfg.num_envs, cfg.seed, cfg.task.randomness) == ("runs/x", 9, 4, "high")
        assert cfg.resume == str(run.path)

    def test_what_is_said_now_still_counts(self, run):
        cfg = compose("train residual", [f"resume={run.path}", "env_steps=77", "task.randomness=med"])
        assert (cfg.num_envs, cfg.env_steps, cfg.task.randomness) == (9, 77, "med")

    def test_a_missing_run_is_named(self):
        assert message("train residual", "resume=nowhere") == "no run at nowhere: no such folder"


def test_sweep_runs_every_combination_and_composes_like_a_single_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    sweep("eval", ["run=x", "seed=1,2", "episodes=3,4"], seen.append)
    assert [(cfg.seed, cfg.episodes) for cfg in seen] == [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert check(VERBS["eval"], seen[0]) == compose("eval", ["run=x", "seed=1", "episodes=3"])
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]  # no outputs/ or multirun/


def test_mistake_in_a_sweep_is_one_line_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    with pytest.raises(UserError, match="eval has no key 'sed', did you mean 'seed'"):
        sweep("eval", ["run=x", "sed=1,2"], seen.append)
    with pytest.raises(UserError, match="seed=b: needs a whole number"):
        sweep("eval", ["run=x", "seed=1,b"], seen.append)
    assert seen == []
