import importlib
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf

from robofb.build import build
from robofb.config import check, compose, find_verb, key_help, load_object, sweep
from robofb.config_choices import GROUPS_OF_VALUES
from robofb.envs import task_names
from robofb.errors import UserError
from robofb.run import Run
from robofb.train.tgrl import TgrlConfig
from robofb.verbs import VERBS

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
REQUIRED = {"data": "data/x", "base": "runs/x", "run": "runs/x", "expert": "runs/x", "logs": "runs/x/logs"}


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
                expected = OmegaConf.load(CONFIGS / group / f"{name}.yaml")
                missing = dict.fromkeys(OmegaConf.missing_keys(expected), "Name")
                said = [f"{group}.{key}={value}" for key, value in missing.items()]
                chosen = compose(verb, words(verb, f"{group}={name}", *said))[group]
                assert chosen == OmegaConf.merge(expected, missing)


@pytest.mark.parametrize("name", names("preset"))
def test_every_preset_composes_and_says_its_name(name):
    assert compose("train_residual", ["base=x", f"preset={name}"]).preset == name


@pytest.mark.parametrize(
    ("verb", "group", "name"),
    [
        (verb, group, name)
        for verb, group in (("train_agents", "agents_settings"), ("train_borel", "borel_settings"))
        for name in names(group)
    ],
)
def test_a_familys_settings_are_those_of_their_verb_alone(verb, group, name):
    own = yaml.safe_load((CONFIGS / f"{group}/{name}.yaml").read_text())
    cfg = compose(verb, words(verb, f"task={name}"))
    assert own and {key: cfg[key] for key in own} == own
    key = next(key for key in own if isinstance(own[key], int | float))
    given = type(own[key])(1)
    assert compose(verb, words(verb, f"task={name}", f"{key}={given}"))[key] == given
    left = compose(verb, words(verb, f"task={name}", f"~{group}"))
    assert left[key] == {field.name: field.default for field in fields(load_object(VERBS[verb].schema))}[key]


@pytest.mark.parametrize("name", names("settings"))
def test_the_settings_of_a_task_are_taken_by_themselves_and_give_way_to_words(name):
    own = yaml.safe_load((CONFIGS / f"settings/{name}.yaml").read_text())
    assert own
    cfg = compose("train_tgrl", [f"task={name}"])
    assert {key: cfg[key] for key in own} == own
    assert compose("train_tgrl", [f"task={name}", "gamma=0.123"]).gamma == 0.123
    assert compose("train_tgrl", [f"task={name}", "~settings"]).gamma == TgrlConfig.gamma
    assert message("train tgrl", f"task={name}", "settings=x").startswith(
        "settings=x: no such settings; valid"
    )
    assert message("train tgrl", "task=null") == "train tgrl needs task=..."


def test_the_quickstart_takes_names_of_groups_and_their_mistakes():
    cfg = compose("quickstart", ["task=one_leg_insert", "engine=mujoco", "randomness=high"])
    assert (cfg.task, cfg.engine, cfg.randomness) == ("one_leg_insert", "mujoco", "high")
    assert message("quickstart", "task=1,2") == "task=1,2: needs one value"


def test_a_file_of_ones_own_is_a_choice(tmp_path, monkeypatch):
    ours = compose("deploy", ["run=r", "arm=ur"])
    own = tmp_path / "left arm.yaml"
    own.write_text((CONFIGS / "arm" / "ur.yaml").read_text().replace("192.168.56.101", "10.0.0.7"))
    cfg = compose("deploy", ["run=r", f"arm={own}", "arm.gain=200"])
    assert (cfg.arm.host, cfg.arm.gain) == ("10.0.0.7", 200.0)
    cfg.arm.host, cfg.arm.gain = ours.arm.host, ours.arm.gain
    assert cfg == ours
    monkeypatch.chdir(tmp_path)
    own.rename("ur.yaml")  # named as one of ours
    assert compose("deploy", ["run=r", "arm=ur.yaml"]).arm.host == "10.0.0.7"
    letters = tmp_path / "für jürgen"
    letters.mkdir()
    text = (tmp_path / "ur.yaml").read_text().replace("max_speed_m_s: 0.15", "max_speed_m_s: 1e-1")
    (letters / "ur.yaml").write_text(f"\ufeff{text}")
    assert compose("deploy", ["run=r", f"arm={letters}/ur.yaml"]).limits.max_speed_m_s == 0.1
    (tmp_path / "shelf.yaml").write_text("# @package _global_\ncameras: {shelf: {port: 7}}\n")
    assert compose("deploy doctor", ["arm=ur.yaml", "camera=shelf.yaml"]).cameras.shelf.port == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("a: [", "expected"),
        ("- 1", "holds no keys"),
        ("", "holds no keys"),
        ("# later", "holds no keys"),
        ("port: 1\nport: 2", "found duplicate key port"),
        ("a: &x [*x]", "too deep"),
        ("hydra: {callbacks: {}}", "what Hydra itself shall do"),
        ("arms: 1", "no key 'arms', did you mean 'arm'"),
    ],
)
def test_what_is_wrong_with_a_file_of_ones_own_is_said(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(f"# @package _global_\n{text}\n")
    with pytest.raises(UserError, match=message):
        compose("deploy", ["run=r", f"arm={path}"])


@pytest.mark.parametrize("package", ["hydra.callbacks", "_global_.hydra.callbacks"])
def test_a_file_of_ones_own_is_no_part_of_hydras_own_settings(tmp_path, package):
    (tmp_path / "mine.yaml").write_text(f"# @package {package}\nx: 1\n")
    with pytest.raises(UserError, match="what Hydra itself shall do"):
        compose("train_bc", ["data=x", f"policy={tmp_path}/mine.yaml"])


def test_a_task_of_ones_own_has_no_settings_and_that_is_said(tmp_path, caplog):
    own = tmp_path / "mine.yaml"
    own.write_text((CONFIGS / "task" / "wind.yaml").read_text())
    ours = compose("train_agents", ["task=wind"]).num_tasks
    assert compose("train_agents", [f"task={own}"]).num_tasks != ours
    assert "agents_settings=NAME" in caplog.text and "wind" in caplog.text
    caplog.clear()
    given = compose("train_agents", [f"task={own}", "agents_settings=wind"])
    assert given.num_tasks == ours and not caplog.text


def test_a_task_can_be_left_out():
    assert compose("train_bc", ["data=x", "task=null"]).task is None


def test_every_primary_config_belongs_to_a_verb():
    assert {file.stem for file in CONFIGS.glob("*.yaml")} == set(VERBS)


@pytest.mark.parametrize(
    "file",
    sorted(
        file
        for file in CONFIGS.glob("*/*.yaml")
        if file.parent.name not in GROUPS_OF_VALUES
        and file != CONFIGS / "teleop/scripted.yaml"  # names no device
    ),
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


@pytest.mark.parametrize("name", task_names())
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

    def test_a_choice_and_its_inner_key_within_a_stage(self):
        text = message("quickstart", "bc.policy.horizon=8", "bc.policy=unet_diffusion")
        assert text.startswith("bc.policy and bc.policy.horizon: say one of them")

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

    @pytest.mark.parametrize("preset", ["paper", "laptop"])
    def test_a_preset_is_refused_for_it_would_change_nothing(self, run, preset):
        assert message("train residual", f"resume={run.path}", f"preset={preset}") == (
            f"preset={preset}: a continued run keeps its values; name the keys you want to change"
        )

    @pytest.mark.parametrize("word", ["settings=tiger_door", "~settings"])
    def test_settings_are_refused_as_well(self, tmp_path, word):
        Run.create(tmp_path / "guided", compose("train_tgrl", ["gamma=0.123"]), "tgrl").close()
        assert compose("train_tgrl", [f"resume={tmp_path / 'guided'}"]).gamma == 0.123
        assert message("train tgrl", f"resume={tmp_path / 'guided'}", word) == (
            f"{word}: a continued run keeps its values; name the keys you want to change"
        )

    @pytest.mark.parametrize("plus", ["", "+", "++"])
    def test_free_groups_take_new_keys(self, tmp_path, plus):
        cfg = compose("quickstart", ["residual.env_steps=5"])
        Run.create(tmp_path / "quick", cfg, "quickstart").close()
        cfg = compose("quickstart", [f"resume={tmp_path / 'quick'}", f"{plus}residual.clip=0.1"])
        assert (cfg.residual.env_steps, cfg.residual.clip) == (5, 0.1)

    def test_another_folder_is_refused(self, run):
        assert message("train residual", f"resume={run.path}", "out=elsewhere") == (
            f"out=elsewhere: resume={run.path} goes on in its own folder; leave out away"
        )
        assert compose("train residual", [f"resume={run.path}", f"out={run.path}"]).resume == str(run.path)

    def test_inner_keys_of_a_stored_choice_are_refused(self, tmp_path):
        Run.create(
            tmp_path / "quick", compose("quickstart", ["bc.policy=unet_diffusion"]), "quickstart"
        ).close()
        text = message("quickstart", f"resume={tmp_path / 'quick'}", "bc.policy.horizon=8")
        assert text.startswith("bc.policy.horizon: bc.policy is unet_diffusion in")

    def test_a_missing_run_is_named(self):
        assert message("train residual", "resume=nowhere") == "no run at nowhere: no such folder"


def test_sweep_runs_every_combination_and_composes_like_a_single_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    sweep("eval", ["run=x", "seed=1,2", "episodes=3,4"], seen.append)
    assert [(cfg.seed, cfg.episodes) for cfg in seen] == [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert check(VERBS["eval"], seen[0]) == compose("eval", ["run=x", "seed=1", "episodes=3"])
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]  # no outputs/ or multirun/


@pytest.mark.parametrize(
    ("verb", "overrides", "key", "expected"),
    [
        ("quickstart", ["residual.clip=0.1,0.2"], "residual.clip", [0.1, 0.2]),
        ("train bc", ["data=~/d", "seed=1,2"], "data", ["/home/someone/d"] * 2),
        ("train bc", ["data=a,b"], "data", ["a", "b"]),
        ("train bc", ["data=x", "task=null", "seed=1,2"], "task", [None, None]),
    ],
)
def test_sweep_reads_words_as_a_single_run_does(verb, overrides, key, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    seen = []
    sweep(verb, overrides, seen.append)
    assert [OmegaConf.select(check(find_verb(verb), cfg), key) for cfg in seen] == expected


def test_a_sweep_resumes_nothing():
    with pytest.raises(UserError, match="resume continues one run with one set of values: leave out -m"):
        sweep("train bc", ["resume=runs/x", "seed=1,2"], print)


class TestBuild:
    SMALL = {"_target_": "robofb.nets.mlp.MlpDenoiser", "action_dim": 2, "horizon": 4, "cond_dim": 3}

    def test_makes_what_is_inside_first_and_calls_a_partial(self):
        node = {**self.SMALL, "_partial_": True, "_convert_": "all", "width": 8}
        del node["action_dim"]
        assert build({**node, "num_blocks": 1}, 2).step[1].out_features == 8
        assert len(build(node)(2, num_blocks=1).blocks) == 1

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [({"colour": "red"}, "'colour'"), ({"width": "wide"}, ""), ({"width": -1}, "-1")],
    )
    @pytest.mark.parametrize("is_partial", [False, True])
    def test_what_a_target_cannot_take_is_one_line(self, changes, reason, is_partial):
        node = {**self.SMALL, **changes, "_partial_": is_partial}
        action_dim = node.pop("action_dim")
        args = (action_dim,) if is_partial else ()
        with pytest.raises(UserError, match=f"cannot make robofb.nets.mlp.MlpDenoiser: .*{reason}") as error:
            build(node if is_partial else {**node, "action_dim": action_dim}, *args)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        "target",
        [
            "os.mkdir",
            "robofb_evil.Policy",
            "robofb.run.os.mkdir",
            "robofb.run.Path",
            "robofb.config.load_object",
            "robofb.run.Run.create",
            "${oc.env:HOME}",
            "mkdir",
            3,
        ],
    )
    @pytest.mark.parametrize("nested", [False, True])
    def test_only_trusted_classes_are_made(self, target, nested, tmp_path):
        node = {"_target_": target, "path": str(tmp_path / "made")}
        node = {**self.SMALL, "inner": [{"deep": node}]} if nested else node
        with pytest.raises(UserError, match=r"only classes of robofb|cannot make robofb\.run"):
            build(node)
        with pytest.raises(UserError):
            build(OmegaConf.create({"policy": node}).policy)
        assert not (tmp_path / "made").exists()

    def test_an_interpolation_hides_no_target(self, tmp_path):
        hidden = {**self.SMALL, "width": "${oc.create:'{_target_: os.mkdir, path: x}'}"}
        with pytest.raises(UserError, match="the config names os.mkdir"):
            build(OmegaConf.create(hidden))

    def test_a_node_without_a_target(self):
        with pytest.raises(UserError, match="it has no _target_"):
            build({"width": 3})


def test_mistake_in_a_sweep_is_one_line_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    with pytest.raises(UserError, match="eval has no key 'sed', did you mean 'seed'"):
        sweep("eval", ["run=x", "sed=1,2"], seen.append)
    with pytest.raises(UserError, match="seed=b: needs a whole number"):
        sweep("eval", ["run=x", "seed=1,b"], seen.append)
    assert seen == []


def test_one_folder_for_all_runs_of_a_sweep_is_refused_before_the_first(tmp_path):
    seen = []
    with pytest.raises(UserError, match="out='?runs/x'?: each run of a sweep needs a folder of its own"):
        sweep("train tgrl", ["seed=1,2", "out=runs/x"], seen.append)
    assert not seen
