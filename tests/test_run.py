import errno
import json
import logging
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from robofb import checkpoint
from robofb.errors import UserError
from robofb.run import Run, new_run_path, plain

CONFIG = {"seed": 3, "lr": 1e-5, "task": {"name": "pole", "size": [1, 2.5]}, "out": None}


@pytest.fixture
def run(tmp_path):
    with Run.create(tmp_path / "pole-bc" / "a", CONFIG, "bc") as run:
        yield run


def state(value: float = 0.0) -> dict:
    return {"spec": {"task": "pole"}, "policy": {"weight": torch.full((3, 2), value)}}


def one_line(error: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_created_run_opens_with_the_same_config_and_kind(run):
    opened = Run.open(run.path)
    assert opened.config == CONFIG
    assert opened.kind == "bc"
    assert yaml.safe_load((run.path / "config.yaml").read_text()) == CONFIG


def test_meta_names_versions_machine_and_command(run):
    meta = run.meta
    assert meta["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert meta["argv"] == sys.argv
    assert meta["machine"]["cores"] >= 1
    commit = subprocess.run(
        ["git", "-C", Path(__file__).parent, "rev-parse", "HEAD"], capture_output=True, text=True
    )
    assert meta["git"]["commit"] == (commit.stdout.strip() or None)


def test_create_refuses_a_folder_in_use(run):
    with pytest.raises(UserError, match="not empty: continue it with resume="):
        Run.create(run.path, CONFIG, "bc")


def test_new_run_path_never_hands_out_a_folder_twice(tmp_path):
    paths = [new_run_path("pole", "bc", 7, root=tmp_path) for _ in range(5)]
    assert len(set(paths)) == 5
    assert all(path.parent == tmp_path / "pole-bc" and "-s7" in path.name for path in paths)
    Run.create(paths[0], CONFIG, "bc").close()


def test_open_names_the_missing_run_and_the_runs_inside(run, tmp_path):
    with pytest.raises(UserError) as missing:
        Run.open(tmp_path / "nothing")
    assert f"no run at {tmp_path / 'nothing'}: no such folder" in one_line(missing)
    with pytest.raises(UserError) as parent:
        Run.open(tmp_path / "pole-bc")
    assert f"runs inside it: {run.path}" in one_line(parent)


@pytest.mark.parametrize(
    ("name", "content"),
    [("config.yaml", "a: [1"), ("config.yaml", "- [a, b]"), ("meta.json", '{"kin'), ("meta.json", "{}")],
)
def test_open_refuses_damaged_files(run, name, content):
    (run.path / name).write_text(content)
    with pytest.raises(UserError) as error:
        Run.open(run.path)
    assert f"run {run.path} is damaged" in one_line(error)


def test_damaged_bookkeeping_is_refused_or_skipped(run):
    run.log({"loss": 1.0}, 1)
    run.save_checkpoint({"weight": torch.zeros(1)}, step=3)
    (run.path / "summary.json").write_text("[1, 2]")
    with pytest.raises(UserError, match=r"summary\.json is damaged"):
        run.summary()
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(b'\xff\xfe\x00\n{"step": 2, "seconds": 1.0, "loss": 0.5}\n')
    assert [row["step"] for row in run.metrics()] == [1, 2]
    (run.path / "checkpoints/latest").write_bytes(b"\xff\x00\xfe")
    with pytest.raises(UserError, match=r"also in .*: step_000000003\.pt"):
        run.load_checkpoint()


def test_metrics_come_back_in_order_with_seconds(run):
    run.log({"loss": 0.5}, step=1)
    run.log({"loss": float("nan"), "val": np.float32(2.0)}, step=2)
    first, second = run.metrics()
    assert (first["step"], first["loss"]) == (1, 0.5)
    assert np.isnan(second["loss"])
    assert second["val"] == 2.0
    assert 0 <= first["seconds"] <= second["seconds"]
    for line in (run.path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # strict JSON: no bare NaN


def test_resumed_run_replaces_the_rows_it_repeats_and_its_clock_goes_on(run):
    for step in (1, 2, 3):
        run.log({"loss": float(step)}, step)
    path = run.path / "metrics.jsonl"
    path.write_text(path.read_text().replace('"seconds": ', '"seconds": 10') + '{"step": 4, "lo')
    run.close()
    run.save_checkpoint(state(), 1)
    with Run.open(run.path).resume() as resumed:
        resumed.log({"loss": 20.0}, 2)
        resumed.log({"loss": 40.0}, 4)
        assert [(row["step"], row["loss"]) for row in resumed.metrics()] == [(1, 1.0), (2, 20.0), (4, 40.0)]
        assert resumed.metrics()[1]["seconds"] >= 100
        assert len(resumed.meta["resumed"]) == 1


def test_rows_after_the_checkpoint_that_a_resume_goes_back_to_are_dropped(run):
    """Also where the first new row repeats the very step of the last old one."""
    for step in (1, 2, 3):
        run.log({"loss": float(step)}, step)
        if step == 2:
            run.save_checkpoint(state(), step)
    run.close()
    with Run.open(run.path).resume() as resumed:
        assert [row["step"] for row in resumed.metrics()] == [1, 2]
        resumed.log({"loss": 30.0}, 3)
        resumed.log({"validation": 1.0}, 3)
    rows = Run.open(run.path).metrics()
    assert [(row["step"], row.get("loss")) for row in rows] == [(1, 1.0), (2, 2.0), (3, 30.0), (3, None)]


def test_a_run_resumed_without_a_checkpoint_starts_its_rows_again(run):
    run.log({"loss": 1.0}, 5)
    run.close()
    with Run.open(run.path).resume() as resumed:
        assert resumed.metrics() == []


def test_metrics_of_a_run_resumed_by_an_older_version(run):
    lines = [json.dumps({"step": step, "seconds": 0.0}) for step in (1, 2, 3, 2, 4)]
    (run.path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert [row["step"] for row in run.metrics()] == [1, 2, 4]


def test_resume_takes_another_wandb_mode(run, monkeypatch):
    started = []
    monkeypatch.setattr(
        "robofb.wandb_mirror.start", lambda path, config, identity: started.append(config["wandb"])
    )
    run.close()
    before = run.meta
    with pytest.raises(UserError, match="wandb=on: choose one of off, offline, online"):
        Run.open(run.path).resume(wandb="on")
    assert run.meta == before
    Run.open(run.path).resume().close()
    Run.open(run.path).resume(wandb="offline").close()
    assert started == ["offline"]


def test_train_log_gets_what_the_package_logs_while_open(run):
    logging.getLogger("robofb.train.bc").info("epoch 1")
    run.close()
    logging.getLogger("robofb.train.bc").info("epoch 2")
    text = (run.path / "train.log").read_text()
    assert "INFO robofb.train.bc: epoch 1" in text
    assert "epoch 2" not in text


def test_summary_merges_nested_values(run):
    run.write_summary({"bc": {"successes": 1}, "seconds": {"bc": 2.5}})
    run.write_summary({"seconds": {"residual": torch.tensor(3.0), "nan": float("nan")}})
    expected = {"bc": {"successes": 1}, "seconds": {"bc": 2.5, "residual": 3.0, "nan": "nan"}}
    assert Run.open(run.path).summary() == expected


def test_plain_leaves_the_given_values_alone():
    given = {"a": (1, 2), 3: Path("x")}
    assert plain(given) == {"a": [1, 2], "3": "x"}
    assert given == {"a": (1, 2), 3: Path("x")}


class TestCheckpoints:
    def test_round_trip_holds_everything_bit_for_bit(self, run):
        weight, moments = torch.randn(4, 3), torch.randn(7, dtype=torch.float64)
        run.save_checkpoint(
            {**state(), "policy": {"w": weight}, "optimizer": {"state": {0: {"m": moments}}}}, 12
        )
        loaded = Run.open(run.path).load_checkpoint()
        assert torch.equal(loaded["policy"]["w"], weight)
        assert torch.equal(loaded["optimizer"]["state"][0]["m"], moments)
        assert (loaded["format"], loaded["kind"], loaded["step"]) == (checkpoint.FORMAT, "bc", 12)
        assert loaded["config"] == CONFIG

    def test_a_real_optimiser_and_generator_come_back(self, run):
        layer = torch.nn.Linear(2, 2)
        optimizer = torch.optim.AdamW(layer.parameters())
        layer(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        generator = torch.Generator().manual_seed(5)
        run.save_checkpoint({"optimizer": optimizer.state_dict(), "rng": generator.get_state()}, 1)
        loaded = run.load_checkpoint()
        optimizer.load_state_dict(loaded["optimizer"])
        other = torch.Generator()
        other.set_state(loaded["rng"])
        assert torch.equal(torch.rand(3, generator=other), torch.rand(3, generator=generator))

    def test_keeps_the_last_ones_and_the_best(self, run):
        for step in range(1, 7):
            run.save_checkpoint(state(step), step, best=step == 2, keep=2)
        names = sorted(path.name for path in (run.path / "checkpoints").glob("*.pt"))
        assert names == ["step_000000002.pt", "step_000000005.pt", "step_000000006.pt"]
        assert run.load_checkpoint("best")["step"] == 2
        assert run.load_checkpoint("latest")["step"] == run.load_checkpoint(Path("latest"))["step"] == 6
        assert run.load_checkpoint("step_000000005.pt")["step"] == 5
        assert run.load_checkpoint(run.path / "checkpoints" / "step_000000005.pt")["step"] == 5

    def test_a_run_resumed_at_an_earlier_step_keeps_its_own(self, run):
        for step in (10, 20, 30):
            run.save_checkpoint(state(), step, keep=2)
        for step in (11, 12):
            run.save_checkpoint(state(), step, keep=2)
        assert run.load_checkpoint()["step"] == 12
        names = sorted(path.name for path in (run.path / "checkpoints").glob("*.pt"))
        assert names == ["step_000000011.pt", "step_000000012.pt"]

    def test_a_copied_run_loads(self, run, tmp_path):
        run.save_checkpoint(state(4.0), 1, best=True)
        run.path.rename(tmp_path / "moved")
        assert Run.open(tmp_path / "moved").load_checkpoint("best")["policy"]["weight"][0, 0] == 4.0

    def test_what_would_not_load_safely_is_refused_on_saving(self, run):
        with pytest.raises(TypeError, match=r"checkpoint\['rng'\]\[1\] is a ndarray"):
            run.save_checkpoint({"rng": [1, np.zeros(2)]}, 1)
        assert not (run.path / "checkpoints").exists()

    @pytest.mark.parametrize("keep_bytes", [0, 10, 400, -1])
    def test_cut_off_checkpoint_is_named_and_the_others_too(self, run, keep_bytes):
        run.save_checkpoint(state(), 1)
        path = run.save_checkpoint(state(), 2)
        path.write_bytes(path.read_bytes()[:keep_bytes])
        with pytest.raises(UserError) as error:
            run.load_checkpoint()
        assert f"checkpoint {path} is cut off" in one_line(error)
        assert "step_000000001.pt" in one_line(error)
        assert run.load_checkpoint("step_000000001.pt")["step"] == 1

    @pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
    def test_flipped_byte_is_noticed(self, run, place):
        path = run.save_checkpoint({"policy": {"weight": torch.ones(3000)}}, 1)
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 0x55
        path.write_bytes(bytes(content))
        with pytest.raises(UserError, match="is cut off, damaged or not one of robofb's"):
            run.load_checkpoint()

    def test_pickle_that_runs_code_is_refused(self, run, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (os.mkdir, (str(tmp_path / "exploded"),))

        torch.save({"format": 1, "policy": Bomb()}, tmp_path / "bomb.pt")
        with pytest.raises(UserError):
            run.load_checkpoint(tmp_path / "bomb.pt")
        assert not (tmp_path / "exploded").exists()

    def test_foreign_files_are_refused(self, run, tmp_path):
        torch.save({"model": torch.zeros(1)}, tmp_path / "foreign.pt")
        torch.save({"format": 99}, tmp_path / "future.pt")
        with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
            archive.writestr("a", "b")
        (tmp_path / "text.pt").write_text("hello")
        for name, words in {
            "foreign.pt": "no format number",
            "future.pt": "checkpoint format 99; this robofb reads 1",
            "zip.pt": "not one of robofb's",
            "text.pt": "not one of robofb's",
        }.items():
            with pytest.raises(UserError) as error:
                run.load_checkpoint(tmp_path / name)
            assert words in one_line(error)

    def test_of_a_run_of_another_kind_is_refused(self, run, tmp_path):
        path = run.save_checkpoint(state(), 1)
        other = Run.create(tmp_path / "other", CONFIG, "residual")
        other.close()
        with pytest.raises(UserError, match=r"step_.*pt is of a bc run; .*other is a residual run"):
            other.load_checkpoint(path)

    def test_missing_checkpoints_name_what_is_there(self, run):
        with pytest.raises(UserError, match=r"no latest checkpoint in .*; there: none at all"):
            run.load_checkpoint()
        run.save_checkpoint(state(), 8)
        with pytest.raises(UserError, match=r"no best checkpoint in .*; there: step_000000008.pt"):
            run.load_checkpoint("best")
        with pytest.raises(
            UserError, match=r"no checkpoint nowhere.pt: say latest or best; also in .*step_000000008.pt"
        ):
            run.load_checkpoint("nowhere.pt")

    def test_a_run_whose_pointer_is_lost_goes_on_from_the_furthest(self, run):
        """As in a partial copy, or killed while it saved its very first."""
        for step in (5, 999_999_999, 1_000_000_000):  # the last has a digit more
            run.save_checkpoint(state(), step)
        (run.path / "checkpoints/latest").unlink()
        assert run.has_checkpoint
        assert run.load_checkpoint()["step"] == 1_000_000_000
        run.close()
        with Run.open(run.path).resume() as again:
            assert json.loads((again.path / "metrics.jsonl").read_text().splitlines()[-1]) == {
                "resumed_at": 1_000_000_000
            }

    def test_a_pointer_to_nothing_is_refused_and_not_begun_anew(self, run):
        run.save_checkpoint(state(), 5)
        (run.path / "checkpoints/latest").write_text("garbage\n")
        assert run.has_checkpoint
        with pytest.raises(UserError, match=r"no checkpoint .*garbage.*; resume takes the one named in its"):
            run.load_checkpoint()

    def test_full_disk_leaves_the_saved_ones_intact(self, run, monkeypatch):
        run.save_checkpoint(state(1.0), 1, best=True)

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"cannot write .*step_000000002.pt: No space left on device"):
            run.save_checkpoint(state(2.0), 2, best=True)
        with pytest.raises(UserError, match=r"cannot write .*summary.json: No space left"):
            run.write_summary({"a": 1})
        monkeypatch.undo()
        assert run.load_checkpoint("best")["policy"]["weight"][0, 0] == 1.0
        assert not list(run.path.glob("**/*.tmp"))


def test_full_device_while_logging_is_one_line(run):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (run.path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cannot write .*metrics.jsonl"):
        run.log({"loss": 1.0}, 1)


def test_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as error:
        Run.create(tmp_path / "file" / "run", CONFIG, "bc")
    assert "cannot make the run folder" in one_line(error)
    with pytest.raises(UserError, match="cannot make a run folder in"):
        new_run_path("pole", "bc", 0, root=tmp_path / "file")


def test_wandb_mode_is_checked_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="wandb=on: choose one of off, offline, online"):
        Run.create(tmp_path / "run", {"wandb": "on"}, "bc")
    assert not (tmp_path / "run").exists()


def test_wandb_offline_mirrors_without_a_login(tmp_path):
    """In a process of its own, so that wandb's service does not outlive the test."""
    program = f"""
from robofb.run import Run
with Run.create({str(tmp_path / "run")!r}, {{"wandb": "offline"}}, "bc") as run:
    run.log({{"loss": 1.5}}, 1)
    run.write_summary({{"bc": {{"successes": 3}}}})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))) == 1


def test_two_processes_cannot_write_one_run(tmp_path):
    with Run.create(tmp_path / "run", {"seed": 1}, "bc"):
        with pytest.raises(UserError, match=f"is being written by process {os.getpid()}"):
            Run.open(tmp_path / "run").resume()
        assert Run.open(tmp_path / "run").config == {"seed": 1}  # reading is free
    Run.open(tmp_path / "run").resume().close()


def test_a_run_killed_while_it_was_made_can_be_made_again(tmp_path, monkeypatch):
    """Killed between config.yaml and meta.json, the folder holds no run: it counts as vacant."""
    from robofb import run as module

    def die(path, text):
        if path.name == "meta.json":
            raise KeyboardInterrupt
        (path).write_text(text)

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_atomically", die)
        with pytest.raises(KeyboardInterrupt):
            Run.create(tmp_path / "run", {"seed": 1}, "bc")
    assert (tmp_path / "run/config.yaml").is_file()
    Run.create(tmp_path / "run", {"seed": 2}, "bc").close()
    assert Run.open(tmp_path / "run").config == {"seed": 2}
