import json

import numpy as np
import pytest
from episode_examples import SPEC, make_episode

from robofb.errors import UserError
from robofb.store.episodes import EpisodeStore
from robofb.store.info import describe, format_info


def test_facts_of_a_dataset(tmp_path):
    folder = tmp_path / "d"
    episodes = [make_episode(number) for number in range(6)]
    with EpisodeStore.create(folder, SPEC, {"robot": "franka"}) as store:
        for episode in episodes:
            store.append(episode)
    info = describe(folder)
    steps = sum(map(len, episodes))
    seconds = sum(episode.timestamps[-1] - episode.timestamps[0] for episode in episodes)
    assert info["episodes"] == 6
    assert info["successes"] == 4  # numbers 1, 2, 4, 5: those not divisible by three
    assert info["steps"] == steps
    assert info["seconds"] == pytest.approx(seconds)
    assert info["control_rate_hz"] == pytest.approx(10.0)
    assert info["measured_rate_hz"] == pytest.approx(steps / seconds)
    assert info["arrays"]["state"] == {"shape": [3], "dtype": "float32", "unit": "m"}
    sources = np.concatenate([episode.source for episode in episodes])
    assert info["sources"]["human"] == (sources == 0).sum()
    assert info["sources"]["scripted"] == (sources == 4).sum()
    assert sum(info["sources"].values()) == steps
    assert info["bytes"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert json.loads(json.dumps(info)) == info
    text = format_info(info)
    for part in ("6 (4 successful)", "10 Hz declared", "3x4x5 uint8 [sRGB]", "human", "franka", str(folder)):
        assert part in text


def test_an_empty_dataset_has_facts_too(tmp_path):
    EpisodeStore.create(tmp_path / "d", SPEC).close()
    info = describe(tmp_path / "d")
    assert (info["episodes"], info["steps"], info["seconds"]) == (0, 0, 0.0)
    assert "0 (0 successful)" in format_info(info)


def test_a_missing_dataset_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such dataset folder"):
        describe(tmp_path / "nowhere")
