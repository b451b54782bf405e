from dataclasses import replace

import numpy as np
import pytest
from episode_examples import SPEC, make_episode

from robofb.errors import UserError
from robofb.store.element_stats import element_stats, format_stats
from robofb.store.episodes import EpisodeStore


@pytest.fixture
def dataset(tmp_path):
    """Return a dataset of 2 and 4 steps whose actions are 1..6 and their negative."""
    with EpisodeStore.create(tmp_path / "d", SPEC) as store:
        for number, values in enumerate([[1, 2], [3, 4, 5, 6]]):
            column = np.asarray(values, np.float32)
            action = np.stack([column, -column], axis=1)
            store.append(replace(make_episode(number, len(values)), action=action))
    return tmp_path / "d"


def test_statistics_by_hand(dataset):
    found = element_stats(dataset)
    assert (found["episodes"], found["steps"]) == (2, 6)
    assert found["lengths"] == {"min": 2.0, "max": 4.0, "mean": 3.0, "std": 1.0}
    first, second = found["elements"][-2:]
    assert (first["key"], first["name"], first["unit"]) == ("action", "action[0]", "m/s")
    assert (first["min"], first["max"], first["mean"]) == (1.0, 6.0, 3.5)
    assert first["std"] == pytest.approx(np.sqrt(35 / 12))  # variance of 1..n is (n^2 - 1) / 12
    assert (second["min"], second["mean"]) == (-6.0, -3.5)
    assert [element["name"] for element in found["elements"][:3]] == ["x_w", "y_w", "z_w"]
    assert {element["key"] for element in found["elements"]} == {"state", "action"}  # no images


def test_the_table_has_a_line_for_each_element(dataset):
    lines = format_stats(element_stats(dataset)).splitlines()
    assert lines[0] == f"{dataset}: 2 episodes, 6 steps"
    assert lines[1].split() == ["name", "min", "max", "mean", "std", "unit"]
    assert lines[2].split() == ["length", "2", "4", "3", "1", "steps"]
    assert lines[-2].split() == ["action[0]", "1", "6", "3.5", "1.708", "m/s"]
    assert len(lines) == 3 + 5


def test_a_dataset_without_episodes_has_none(tmp_path):
    EpisodeStore.create(tmp_path / "d", SPEC).close()
    with pytest.raises(UserError, match="no episodes to take statistics of"):
        element_stats(tmp_path / "d")
