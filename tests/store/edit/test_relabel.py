import json
from dataclasses import replace

import pytest
from episode_examples import SPEC, assert_same, make_episode

from edit.examples import assert_same_but_origin, contents, made, make_dataset
from robofb.errors import UserError
from robofb.store.edit.relabel import Labels, notes, parse_meta, relabel, relabel_in_place
from robofb.store.episodes import EpisodeStore

LABELS = Labels(success=True, meta={"operator": "ann", "note": None})


def test_in_a_copy_only_the_named_episodes_change(tmp_path):
    source = make_dataset(tmp_path / "d", [0, 3, 6])  # none a success
    before = contents(source.path)
    labels = Labels(success=True, source="human", meta={"operator": "ann", "note": None})
    after = made(relabel(source, tmp_path / "c", labels, [1]))
    assert after.successes.tolist() == [False, True, False]
    expected = replace(make_episode(3), success=True, meta={"seed": 3, "operator": "ann"})
    expected.source[:] = 0
    assert_same_but_origin(after[1], expected)
    assert_same_but_origin(after[2], make_episode(6))
    assert contents(source.path) == before


def test_in_place_the_index_alone_changes(tmp_path):
    source = make_dataset(tmp_path / "d", [0, 3])
    before = contents(source.path)
    relabel_in_place(source.path, LABELS, [1])
    again = EpisodeStore.open(source.path)
    assert_same(again[0], make_episode(0))
    assert_same(again[1], replace(make_episode(3), success=True, meta={"seed": 3, "operator": "ann"}))
    assert {name for name, data in contents(source.path).items() if before[name] != data} == {"index.json"}


def test_the_task_is_the_whole_datasets(tmp_path):
    source = make_dataset(tmp_path / "d", [0], {"robot": "franka"})
    copy = made(relabel(source, tmp_path / "c", Labels(task="lamp")))
    relabel_in_place(source.path, Labels(task="lamp"))
    for store in (copy, EpisodeStore.open(source.path)):
        assert store.spec == replace(SPEC, task="lamp")
        assert store.meta["robot"] == "franka"
        assert json.loads((store.path / ".zattrs").read_text())["task"] == "lamp"
        assert_same_but_origin(store[0], make_episode(0))
    with pytest.raises(UserError, match="takes no --episodes"):
        relabel(source, tmp_path / "e", Labels(task="lamp"), [0])


def test_values_are_json_where_they_can_be():
    words = [
        "operator=ann",
        "score=3",
        "good=true",
        'path="3"',
        "tags=[1]",
        "gone=null",
        "empty=",
        "a=b=c",
        "not_json=NaN",
    ]
    assert parse_meta(words) == {
        "operator": "ann", "score": 3, "good": True, "path": "3", "tags": [1], "gone": None, "empty": None,
        "a": "b=c", "not_json": "NaN",
    }  # fmt: skip
    assert parse_meta([]) == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [(["a"], "--meta a: needs KEY=VALUE"), (["=1"], "needs KEY=VALUE"), (["a=1", "a=2"], "a is given twice")],
)
def test_words_without_key_or_value_are_refused(words, message):
    with pytest.raises(UserError, match=message):
        parse_meta(words)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, "relabel needs --success"),
        ({"source": "robot"}, "--source robot is unknown; valid: human, policy"),
        ({"task": " "}, "--task is empty"),
        ({"meta": {"bottlenecks": []}}, "marks are set by robofb data annotate"),
        ({"meta": {"success": False}}, "--meta success: this is no fact of the meta: use --success"),
        ({"meta": {"terminated": True}}, "--meta terminated: this is no fact of the meta"),
        ({"meta": {"came_from": None}}, "robofb keeps this key itself"),
    ],
)
def test_labels_that_make_no_sense_are_refused(facts, message):
    with pytest.raises(UserError, match=message):
        Labels(**facts)


def test_a_refused_change_changes_nothing(tmp_path):
    source = make_dataset(tmp_path / "d", [0])
    before = contents(source.path)
    nan = Labels(task="lamp", meta={"score": float("nan")})
    with pytest.raises(UserError, match="not JSON-ready"):
        relabel_in_place(source.path, nan)
    with pytest.raises(UserError, match="not JSON-ready"):
        made(relabel(source, tmp_path / "c", nan))
    for dry_run in (True, False):
        with pytest.raises(UserError, match="cannot change --in-place: give --out"):
            relabel_in_place(source.path, Labels(source="human"), dry_run=dry_run)
    relabel_in_place(source.path, LABELS, dry_run=True)
    assert contents(source.path) == before
    assert not (tmp_path / "c").exists()


def test_what_will_change_is_told(tmp_path):
    source = make_dataset(tmp_path / "d", [0, 1, 2])
    told = notes(source, LABELS, [0, 1])
    assert told == [f'episodes 0-1 of {tmp_path / "d"}: success true, operator "ann", note null']
    assert notes(source, Labels(task="lamp")) == ["task example becomes lamp"]
