import json
from dataclasses import replace

import pytest
from sound_episodes import sound_episode, write_dataset

from robofb.cli import run

SOUND = [sound_episode(number) for number in range(6)]


@pytest.fixture
def faulty(tmp_path):
    """Return a dataset with one warning and no error."""
    return write_dataset(tmp_path / "d", [*SOUND[:5], replace(SOUND[5], success=False)])


def test_exit_codes(tmp_path, faulty, capsys):
    sound = write_dataset(tmp_path / "sound", SOUND)
    assert run(["data", "doctor", str(sound), "--strict"]) == 0
    assert run(["data", "doctor", str(faulty)]) == 0
    assert run(["data", "doctor", str(faulty), "--strict"]) == 1
    assert run(["data", "doctor", str(faulty), "--strict", "--only", "images", "--only", "time"]) == 0
    (sound / "data" / "image_front" / "0.0.0.0").unlink()
    assert run(["data", "doctor", str(sound)]) == 1
    for wrong in (["nowhere"], [str(tmp_path)], [str(sound), "--only", "imges"]):
        capsys.readouterr()
        assert run(["data", "doctor", *wrong]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_json_and_page(tmp_path, faulty, capsys):
    page = tmp_path / "page.html"
    assert run(["data", "doctor", str(faulty), "--json", "--html", str(page)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["episodes"], result["sound_episodes"]) == (6, 5)
    assert (result["errors"], result["warnings"]) == (0, 1)
    (finding,) = result["findings"]
    assert finding["fault"] == "failure_with_reward"
    assert finding["episode"] == 5
    assert finding["frames"] is None
    assert page.read_text().startswith("<!doctype html>")


def test_text(faulty, capsys):
    assert run(["data", "doctor", str(faulty)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "warning: failure_with_reward (1)"
    assert lines[-1] == "5 of 6 episodes sound; errors: 0, warnings: 1"
