"""What a dataset of `robofb collect` says about itself."""

import json

from robofb import __version__, cli


def test_a_collected_dataset_says_how_it_was_made(tmp_path, capsys):
    words = ["task=one_leg_insert", "episodes=1", "num_envs=2", "noise=0", "seed=7", f"out={tmp_path}/d"]
    assert cli.run(["collect", *words, "cameras=[front]", "image_size=[24,32]"]) == 0
    attributes = json.loads((tmp_path / "d/.zattrs").read_text())
    meta = attributes["meta"]
    assert meta["made_with"]["robofb"] == __version__
    assert set(meta["made_with"]) == {"robofb", "mujoco", "commit", "dirty"}
    assert (meta["robot"], meta["randomness"], meta["seed"]) == ("franka", "low", 7)
    assert meta["frame"] == "robot base"
    assert set(meta["cameras"]) == {"front"}
    assert attributes["task"] == "one_leg_insert"
    assert attributes["control_rate_hz"] == 10.0
    assert "wxyz" in attributes["rotation"] and "first two columns" in attributes["rotation"]
    assert attributes["units"]["data/timestamp"] == "s" and attributes["units"]["data/action"] != ""
    assert all("_base_" in name for name in attributes["spec"]["obs"]["state"]["names"] if "_pos_" in name)
    capsys.readouterr()
    assert cli.run(["data", "info", str(tmp_path / "d")]) == 0
    assert f"meta made_with robofb {__version__}" in " ".join(capsys.readouterr().out.split())
