import json

import numpy as np
import pytest
from episode_examples import SPEC, make_episode

from robofb.errors import UserError
from robofb.store.edit.plan import make_plan, whole, write
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
    states = np.concatenate([episode.obs["state"][:-1] for episode in episodes])
    assert info["arrays"]["state"] == {
        "shape": [3],
        "dtype": "float32",
        "unit": "m",
        "min": states.min(0).tolist(),
        "max": states.max(0).tolist(),
    }
    assert set(info["arrays"]["front"]) == {"shape", "dtype", "unit"}  # no range of an image
    lengths = sorted(map(len, episodes))
    assert info["lengths"] == {
        "min": lengths[0],
        "median": (lengths[2] + lengths[3]) / 2,
        "max": lengths[-1],
    }
    sources = np.concatenate([episode.source for episode in episodes])
    assert info["sources"]["human"] == (sources == 0).sum()
    assert info["sources"]["scripted"] == (sources == 4).sum()
    assert sum(info["sources"].values()) == steps
    assert info["bytes"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert json.loads(json.dumps(info)) == info
    text = format_info(info)
    for part in ("6 (4 successful)", "10 Hz declared", "3x4x5 uint8 [sRGB]", "human", "franka", str(folder)):
        assert part in text
    assert f"[m], {states.min():.4g} to {states.max():.4g}" in text
    assert f"{lengths[0]} to {lengths[-1]} steps, median" in text


def test_nested_meta_gets_a_row_for_each_value(tmp_path):
    meta = {"cameras": {"front": {"fov_deg": 40.0}, "wrist": {"fov_deg": 75.0}}}
    EpisodeStore.create(tmp_path / "d", SPEC, meta).close()
    rows = [line.split() for line in format_info(describe(tmp_path / "d")).splitlines()]
    assert ["meta", "cameras", "wrist", "fov_deg", "75.0"] in rows


def test_an_empty_dataset_has_facts_too(tmp_path):
    EpisodeStore.create(tmp_path / "d", SPEC).close()
    info = describe(tmp_path / "d")
    assert (info["episodes"], info["steps"], info["seconds"]) == (0, 0, 0.0)
    assert "0 (0 successful)" in format_info(info)
    assert "no episodes" in format_info(info)


def test_a_missing_dataset_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such dataset folder"):
        describe(tmp_path / "nowhere")


def test_every_edit_gets_one_row(tmp_path):
    with EpisodeStore.create(tmp_path / "d", SPEC) as store:
        store.append(make_episode(0))
    source = EpisodeStore.open(tmp_path / "d")
    write(make_plan(tmp_path / "c", [whole(source, 0)], [source], "trim", {}))
    text = format_info(describe(tmp_path / "c"))
    assert f"trim of {tmp_path / 'd'}: 1 episodes" in text
    assert "index_sha256" not in text


def test_an_edited_dataset_shows_what_recorded_its_sources(tmp_path):
    sources = []
    for name in "ab":
        with EpisodeStore.create(tmp_path / name, SPEC) as store:
            store.append(make_episode(0))
        attributes = json.loads((tmp_path / name / ".zattrs").read_text())
        attributes["meta"]["made_with"] = {"robofb": "0.0.1", "commit": f"{name}{name}", "dirty": name == "b"}
        (tmp_path / name / ".zattrs").write_text(json.dumps(attributes))
        sources.append(EpisodeStore.open(tmp_path / name))
    write(make_plan(tmp_path / "t", [whole(sources[1], 0)], [sources[1]], "trim", {}))
    trimmed = EpisodeStore.open(tmp_path / "t")
    pieces = [whole(sources[0], 0), whole(trimmed, 0)]
    write(make_plan(tmp_path / "m", pieces, [sources[0], trimmed], "merge", {}))
    info = describe(tmp_path / "m")
    assert [versions["commit"] for versions in info["recorded_with"]] == ["aa", "bb"]
    rows = [line for line in format_info(info).splitlines() if line.startswith("recorded with")]
    assert [" ".join(row.split()) for row in rows] == [
        "recorded with robofb 0.0.1, commit aa",
        "recorded with robofb 0.0.1, commit bb, with changes",
    ]
