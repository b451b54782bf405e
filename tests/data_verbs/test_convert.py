import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace

import h5py
import pytest
from format_examples import EXAMPLES, SPEC, diffusion_policy, episode, juicer, robofb, robomimic

from robofb import cli
from robofb.store.convert import convert
from robofb.store.episodes import EpisodeStore


def run(*words):
    return cli.run(["data", "convert", *map(str, words)])


def test_says_what_was_done_and_assumed(tmp_path, capsys):
    assert run(juicer(tmp_path), "--out", tmp_path / "out", "--task", "mine") == 0
    text = capsys.readouterr().out
    assert "(juicer) to" in text and "2 episodes, 8 steps" in text
    assert "  state (16,) float32" in text
    assert "note: 6D rotations were the first two rows" in text
    with EpisodeStore.open(tmp_path / "out") as store:
        assert store.spec.task == "mine"


def test_dry_run_says_would(tmp_path, capsys):
    assert run(juicer(tmp_path), "--out", tmp_path / "out", "--dry-run") == 0
    assert capsys.readouterr().out.startswith("would convert ")
    assert not (tmp_path / "out").exists()


def test_a_wrong_rate_is_warned_of(tmp_path, capsys):
    assert run(robofb(tmp_path), "--out", tmp_path / "out", "--to", "robomimic", "--rate", "20") == 0
    text = capsys.readouterr().out
    assert "warning: the timestamps of 2 episodes (first 0) disagree with the declared 20 Hz" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "rlds"], f"format 'rlds' is unknown; valid: auto, {', '.join(sorted(EXAMPLES))}"),
        (
            ["--to", "rlds"],
            "format 'rlds' cannot be written; valid: diffusion_policy, lerobot, robofb, robomimic",
        ),
        (
            ["--rate", "10", "--to", "diffusion_policy"],
            "is in format 'diffusion_policy' already: choose another with --to",
        ),
        (["--rate", "-1"], "rate=-1.0: needs a positive number of Hz"),
        ([], "does not say at what rate it was recorded: give --rate HZ"),
        (["--video"], "--video: format 'robofb' stores no video"),
        (["--rate", "10", "--from", "lerobot"], "cannot read"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, words, message):
    assert run(diffusion_policy(tmp_path), "--out", tmp_path / "out", *words) == 2
    error = capsys.readouterr().err
    assert message in error.replace("\n", " ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [[], ["--from", "diffusion_policy"]])
def test_a_dataset_of_ours_without_its_index_is_taken_for_nothing_else(tmp_path, capsys, words):
    path = robofb(tmp_path)
    (path / "index.json").unlink()
    assert run(path, "--out", tmp_path / "out", "--rate", "10", *words) == 2
    error = capsys.readouterr().err
    assert ("is a dataset of robofb" if words else "dataset is damaged: ") in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["robofb", "diffusion_policy", "lerobot"])
@pytest.mark.parametrize("name", ["..", "../x", "a/b", "a\\..\\b"])
def test_an_observation_that_would_lead_out_of_the_folder_is_refused_by_name(tmp_path, capsys, name, target):
    (tmp_path / "in").mkdir()
    path = robomimic(tmp_path / "in")
    with h5py.File(path, "a") as file:
        for demo in file["data"].values():
            rows = demo["obs"]["robot0_eef_pos"][:]
            demo["obs"].create_dataset(name, data=rows)
        place = file["data/demo_2/obs"][name].name
        spec = replace(SPEC, obs={name: SPEC.action, place.rpartition("/")[2]: SPEC.action})
        file["data"].attrs["robofb"] = json.dumps({"robofb_facts": 1, "spec": spec.to_dict()})
    before = sorted(tmp_path.rglob("*"))
    words = [] if target == "robofb" else ["--to", target]
    code = run(path, "--out", tmp_path / "out", "--rate", "10", *words)
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1 and name.split("/")[0] in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["data/../../x", "/etc/x"])
def test_an_array_in_a_zip_that_would_lead_out_of_it_is_refused_by_name(tmp_path, capsys, name):
    folder = diffusion_policy(tmp_path)
    with zipfile.ZipFile(tmp_path / "in.zarr.zip", "w") as archive:
        for file in folder.rglob("*"):
            place = file.relative_to(folder).as_posix()
            if file.is_file():
                archive.write(file, place)
                if place.startswith("data/state/"):
                    archive.writestr(place.replace("data/state", name), file.read_bytes())
    before = sorted(tmp_path.rglob("*"))
    assert run(tmp_path / "in.zarr.zip", "--out", tmp_path / "out", "--rate", "10") == 2
    assert f"names '{name}/" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
@pytest.mark.parametrize("target", ["diffusion_policy", "lerobot", "robomimic", "robofb"])
def test_a_full_disk_is_one_line_and_leaves_only_what_goes_on(tmp_path, target):
    with EpisodeStore.create(tmp_path / "ours", SPEC) as store:
        for number in range(2):
            store.append(episode(number, 1000))
    source = tmp_path / "ours"
    if target == "robofb":
        source = tmp_path / "demos.hdf5"
        convert(tmp_path / "ours", source, target_format="robomimic")
    (tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(tmp_path / "disk")]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this container may not mount")
    try:
        words = [str(source), "--out", str(tmp_path / "disk" / "c"), "--to", target]
        command = [sys.executable, "-m", "robofb.cli", "data", "convert", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)  # HDF5 may crash
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        left = [path.name for path in (tmp_path / "disk").iterdir()]
        if target == "robofb":  # the same call goes on with it
            assert "disk/c: nothing is converted yet: the disk is full" in done.stderr
            assert left == [".c.partial"] and f"{tmp_path / 'disk' / '.c.partial'}\n" in done.stderr
        else:
            assert done.stderr.endswith("disk/c: nothing is converted: the disk is full\n")
            assert left == []
    finally:
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)
