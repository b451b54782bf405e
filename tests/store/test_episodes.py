import json
import os
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zarr
from episode_examples import SPEC, assert_same, make_episode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robofb.errors import UserError
from robofb.provenance import made_with
from robofb.store.episodes import EpisodeStore
from robofb.store.flat_array import CHUNK_ROWS
from robofb.store.index import EpisodeEntry, dump_index
from robofb.types import ArraySpec, EnvSpec


@pytest.fixture
def store(tmp_path):
    with EpisodeStore.create(tmp_path / "d", SPEC, {"robot": "franka"}) as store:
        yield store


def fill(store, count):
    for number in range(len(store), count):
        store.append(make_episode(number))


def test_episodes_read_back_exactly_after_reopening(store):
    fill(store, 7)
    store.close()
    with EpisodeStore.open(store.path) as again:
        assert len(again) == 7
        assert again.spec == SPEC
        assert again.meta == {"robot": "franka", "made_with": made_with()}
        for number, episode in enumerate(again):
            assert_same(episode, make_episode(number))
        assert_same(again[-1], make_episode(6))
        with pytest.raises(IndexError, match="episode 7 of 7"):
            again[7]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(
        st.one_of(st.integers(1, 40), st.sampled_from([CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 16, 32])),
        min_size=1,
        max_size=5,
    ),
    reopen=st.booleans(),
)
def test_any_lengths_round_trip_across_chunk_borders(tmp_path, lengths, reopen):
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    store = EpisodeStore.create(folder, SPEC)
    for number, length in enumerate(lengths):
        assert store.append(make_episode(number, length)) == number
        if reopen:
            store.close()
            store = EpisodeStore.open(folder, "a")
    assert store.episode_lengths.tolist() == lengths
    for number, length in enumerate(lengths):
        assert_same(store[number], make_episode(number, length))
    store.close()
    rows = np.concatenate([make_episode(n, length).obs["front"][:-1] for n, length in enumerate(lengths)])
    np.testing.assert_array_equal(zarr.open_group(folder, mode="r")["data/front"][:], rows)


@pytest.mark.parametrize("lengths", [[5], [CHUNK_ROWS - 1, 3, 1], [2, CHUNK_ROWS + 7, 4]])
def test_several_at_once_leave_what_one_after_the_other_leaves(tmp_path, lengths):
    episodes = [make_episode(number, length) for number, length in enumerate([3, *lengths])]
    with (
        EpisodeStore.create(tmp_path / "one", SPEC) as one,
        EpisodeStore.create(tmp_path / "many", SPEC) as many,
    ):
        for episode in episodes:
            one.append(episode)
        many.append(episodes[0])
        assert many.extend(episodes[1:]) == 1
        assert many.extend([]) == len(episodes)
        assert many.append(make_episode(9, 2)) == one.append(make_episode(9, 2)) == len(episodes)
    files = sorted(
        path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()
    )
    for file in files:
        assert (tmp_path / "many" / file).read_bytes() == (tmp_path / "one" / file).read_bytes(), file


def test_one_unsound_episode_among_several_refuses_them_all(store):
    fill(store, 2)
    bad = replace(make_episode(3), reward=np.full(len(make_episode(3)), np.nan, np.float32))
    with pytest.raises(UserError, match="episode 3 refused: .*reward"):
        store.extend([make_episode(2), bad])
    assert len(store) == 2
    store.close()
    with EpisodeStore.open(store.path) as again:
        assert len(again) == 2


def test_folder_is_a_zarr_2_group_as_diffusion_policy_reads_it(store):
    fill(store, 4)
    episodes = [make_episode(number) for number in range(4)]
    root = zarr.open_group(store.path, mode="r")
    assert root.metadata.zarr_format == 2
    ends = root["meta/episode_ends"][:]
    assert ends.dtype == np.int64
    assert ends.tolist() == np.cumsum([len(episode) for episode in episodes]).tolist()
    for name, array in root["data"].arrays():
        assert array.shape[0] == ends[-1], name
    np.testing.assert_array_equal(
        root["data/state"][:], np.concatenate([e.obs["state"][:-1] for e in episodes])
    )
    np.testing.assert_array_equal(root["data/reward"][:], np.concatenate([e.reward for e in episodes]))
    np.testing.assert_array_equal(root["final/front"][:], np.stack([e.obs["front"][-1] for e in episodes]))
    np.testing.assert_array_equal(root["final/timestamp"][:], [e.timestamps[-1] for e in episodes])
    assert root["data/front"].chunks == (16, 3, 4, 5)
    assert json.loads((store.path / "data/front/.zarray").read_text())["compressor"] == {
        "id": "zstd",
        "level": 3,
    }


def test_attributes_carry_units_rate_and_conventions(store):
    attributes = dict(zarr.open_group(store.path, mode="r").attrs)
    assert attributes["schema_version"] == 1
    assert attributes["control_rate_hz"] == pytest.approx(10.0)
    assert attributes["units"]["data/state"] == "m"
    assert attributes["units"]["data/timestamp"] == "s"
    assert "wxyz" in attributes["rotation"]
    assert EnvSpec.from_dict(attributes["spec"]) == SPEC


def test_a_lost_chunk_is_an_error_here_and_nan_elsewhere(store):
    fill(store, 2)
    store.close()
    (store.path / "data/state/0.0").unlink()
    with pytest.raises(UserError, match=r"damaged: cannot read .*data/state/0\.0"):
        EpisodeStore.open(store.path)[0]
    assert np.isnan(zarr.open_array(store.path / "data/state", mode="r")[:]).all()


def test_statistics_by_hand(tmp_path):
    spec = EnvSpec("t", {"state": ArraySpec((1,))}, ArraySpec((1,)), 0.1, 10)
    base = make_episode(0, 2, spec)
    first = replace(base, obs={"state": np.float32([[1], [3], [99]])}, action=np.float32([[0], [2]]))
    last = replace(base, obs={"state": np.float32([[5], [7], [99]])}, action=np.float32([[4], [-2]]))
    with EpisodeStore.create(tmp_path / "d", spec) as store:
        store.append(first)
        store.append(last)
        stats = store.stats()
        assert set(stats) == {"state", "action"}
        expected = {
            "min": 1.0,
            "max": 7.0,
            "mean": 4.0,
            "std": 5.0**0.5,
        }  # of 1, 3, 5, 7: the final 99 is not acted on
        for name, value in expected.items():
            assert stats["state"][name].shape == (1,)
            assert stats["state"][name] == pytest.approx(value)
        assert stats["action"]["mean"] == pytest.approx(1.0)  # of 0, 2, 4, -2
        assert store.stats([1])["state"]["mean"] == pytest.approx(6.0)


def test_images_have_no_statistics(store):
    fill(store, 1)
    assert set(store.stats()) == {"state", "action"}


def test_read_selects_episodes(store):
    fill(store, 5)
    rows = np.concatenate([make_episode(1).action, make_episode(3).action])
    np.testing.assert_array_equal(store.read("action", [1, 3]), rows)
    with pytest.raises(UserError, match="no array 'wrist'; it has: state, front"):
        store.read("wrist")


def with_nan(array, step):
    array = array.copy()
    array[step] = np.nan
    return array


BASE = make_episode(0, 4)
REFUSED = {
    "observation 'state' holds NaN or infinity at step 4": {
        "obs": {**BASE.obs, "state": with_nan(BASE.obs["state"], 4)}
    },
    "action holds NaN or infinity at step 2": {"action": with_nan(BASE.action, 2)},
    "reward holds NaN": {"reward": BASE.reward * np.float32(np.inf)},
    r"observations \['state'\], the dataset \['front', 'state'\]": {"obs": {"state": BASE.obs["state"]}},
    r"observation 'state' has shape \(4, 3\), expected \(5, 3\)": {
        "obs": {**BASE.obs, "state": BASE.obs["state"][:-1]}
    },
    "observation 'front' has dtype float32, expected uint8": {
        "obs": {**BASE.obs, "front": BASE.obs["front"].astype("float32")}
    },
    r"action has shape \(4, 3\), expected \(4, 2\)": {"action": np.zeros((4, 3), np.float32)},
    "action has dtype float64, expected float32": {"action": BASE.action.astype(float)},
    r"reward has shape \(3,\), expected \(4,\)": {"reward": BASE.reward[:3]},
    r"timestamps has shape \(4,\), expected \(5,\)": {"timestamps": BASE.timestamps[1:]},
    "timestamps decrease at step 3: 2.000000 s, then 1.500000 s": {"timestamps": np.array([0, 1, 2, 1.5, 3])},
    r"source at step 1 is 7; valid: 0\.\.4": {"source": np.array([0, 7, 0, 0], np.uint8)},
    "no action: it needs at least one step": {"action": np.zeros((0, 2), np.float32)},
    "success is 'no', expected True or False": {"success": "no"},
    "meta is not JSON-ready": {"meta": {"camera": object()}},
}


@pytest.mark.parametrize(("message", "change"), REFUSED.items(), ids=range(len(REFUSED)))
def test_unsound_episodes_are_refused_and_leave_no_trace(store, message, change):
    store.append(make_episode(0))
    before = {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=message) as error:
        store.append(replace(BASE, **change))
    assert "\n" not in str(error.value)
    assert "episode 1 refused" in str(error.value)
    assert {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()} == before
    assert store.append(make_episode(1)) == 1


def other_format(folder):
    zarr.open_group(folder, mode="w", zarr_format=2, attributes={"format": "other"})
    (folder / "index.json").write_text('{"episodes": []}')


def cut_index(folder):
    with EpisodeStore.create(folder, SPEC) as store:
        fill(store, 2)
    index = folder / "index.json"
    index.write_bytes(index.read_bytes()[:-40])


def rewrite_index(folder, **changes):
    with EpisodeStore.create(folder, SPEC) as store:
        fill(store, 2)
    index = json.loads((folder / "index.json").read_text())
    index["episodes"][1] |= changes
    (folder / "index.json").write_text(json.dumps(index))


def rewrite_attributes(folder, **changes):
    EpisodeStore.create(folder, SPEC).close()
    attributes = json.loads((folder / ".zattrs").read_text())
    (folder / ".zattrs").write_text(json.dumps({**attributes, **changes}))


def rewrite_spec(folder, **changes):
    rewrite_attributes(folder, spec={**SPEC.to_dict(), **changes})


def rewrite_action(folder, **changes):
    rewrite_spec(folder, action={**SPEC.action.to_dict(), **changes})


def rewrite_header(folder, **changes):
    EpisodeStore.create(folder, SPEC).close()
    header = json.loads((folder / "data/action/.zarray").read_text())
    (folder / "data/action/.zarray").write_text(json.dumps({**header, **changes}))


def replace_index(folder, content):
    EpisodeStore.create(folder, SPEC).close()
    (folder / "index.json").write_text(content)


def lost_index(folder):
    EpisodeStore.create(folder, SPEC).close()
    (folder / "index.json").unlink()


def missing_rows(folder):
    with EpisodeStore.create(folder, SPEC) as store:
        fill(store, 2)
    header = json.loads((folder / "data/action/.zarray").read_text())
    (folder / "data/action/.zarray").write_text(json.dumps({**header, "shape": [1, 2]}))


NOT_DATASETS = [
    (lambda folder: None, "no such dataset folder"),
    (lambda folder: folder.mkdir(), "empty folder, not a dataset"),
    (lambda folder: folder.write_text("x"), "is a file"),
    (lambda folder: shutil.copytree(Path(__file__).parent, folder), "not a robofb dataset"),
    (other_format, "format is not 'robofb-episodes'"),
    (partial(rewrite_attributes, schema_version=99), "schema version 99; this robofb reads 1"),
    (partial(rewrite_attributes, spec=3), "damaged: .*.zattrs holds no sound spec"),
    (partial(rewrite_attributes, spec={"task": "x"}), "damaged: .*.zattrs holds no sound spec"),
    (partial(rewrite_attributes, meta="x"), "damaged: .*.zattrs holds no sound meta"),
    (partial(rewrite_index, end="4"), r"damaged: cannot read .*index.json \(episode 1: 'end' is '4'\)"),
    (partial(rewrite_index, end=True), r"index.json \(episode 1: 'end' is True\)"),
    (partial(rewrite_index, end=1), r"index.json \(episode 1: ends at row 1, but begins at row \d+\)"),
    (partial(rewrite_index, end=10**400), r"index.json \(episode 1: ends at row 1000"),
    (partial(rewrite_index, success="no"), r"index.json \(episode 1: 'success' is 'no'\)"),
    (partial(rewrite_index, meta=None), r"index.json \(episode 1: 'meta' is None\)"),
    (partial(rewrite_index, colour=3), r"index.json \(episode 1: 'colour' is unknown\)"),
    (partial(replace_index, content="[1]"), r"index.json \(it holds no list 'episodes'\)"),
    (partial(replace_index, content='{"episodes": null}'), r"index.json \(it holds no list 'episodes'\)"),
    (partial(replace_index, content='{"episodes": [7]}'), r"index.json \(episode 0: 7 is no object\)"),
    (partial(replace_index, content='{"episodes": [{"end": NaN}]}'), r"index.json \(NaN is no JSON\)"),
    (lost_index, "damaged: .*index.json is missing"),
    (partial(rewrite_header, chunks=[0, 2]), r"action/.zarray describes .*'chunks' is \[0, 2\]"),
    (partial(rewrite_header, chunks=[10**15, 2]), r"action/.zarray describes .*'chunks' is"),
    (partial(rewrite_header, chunks="ab"), r"action/.zarray describes .*'chunks' is 'ab'"),
    (partial(rewrite_header, shape=[9, 3]), r"'shape' is \[9, 3\], the spec has rows of \[2\]"),
    (partial(rewrite_header, shape=[10**19, 2]), r"action/.zarray describes .*'shape' is"),
    (partial(rewrite_header, shape=[-1, 2]), r"action/.zarray describes .*'shape' is"),
    (partial(rewrite_header, dtype="|O"), r"'dtype' is '\|O', the spec has float32"),
    (partial(rewrite_header, filters=[{"id": "pickle"}]), r"action/.zarray describes .*'filters' is"),
    (partial(rewrite_header, compressor={"id": "pickle"}), r"\('compressor' is not zstd\)"),
    (partial(rewrite_header, compressor=None), r"\('compressor' is not zstd\)"),
    (partial(rewrite_spec, control_dt=0), r"zattrs holds no sound spec \(control_dt 0: needs a positive"),
    (partial(rewrite_spec, control_dt=-0.1), r"zattrs holds no sound spec \(control_dt -0.1"),
    (partial(rewrite_spec, control_dt=float("nan")), r"zattrs holds no sound spec \(control_dt nan"),
    (partial(rewrite_spec, control_dt="0.1"), r"zattrs holds no sound spec \('control_dt' is '0.1'\)"),
    (partial(rewrite_spec, max_steps=0), r"zattrs holds no sound spec \(max_steps 0"),
    (partial(rewrite_spec, max_steps=2.5), r"zattrs holds no sound spec \('max_steps' is 2.5\)"),
    (partial(rewrite_spec, obs=[]), r"zattrs holds no sound spec \('obs' is \[\]\)"),
    (
        partial(rewrite_spec, obs={"../x": SPEC.action.to_dict()}),
        r"no sound spec \(observation key '../x' may",
    ),
    (partial(rewrite_spec, obs={"x": None}), r"no sound spec \(x: None is no object with"),
    (partial(rewrite_action, dtype="|O"), r"no sound spec \(action: dtype '\|O'"),
    (partial(rewrite_action, dtype="flaot"), r"no sound spec \(action: dtype 'flaot'"),
    (partial(rewrite_action, shape=[0]), r"no sound spec \(action: shape \[0\]"),
    (partial(rewrite_action, shape=[10**15]), r"no sound spec \(action: shape \[10+\]: more than"),
    (partial(rewrite_action, shape=None), r"no sound spec \(action: 'shape' is None"),
    (partial(rewrite_action, unit=3), r"no sound spec \(action: 'unit' is 3"),
    (partial(rewrite_action, names="ab"), r"no sound spec \(action: 'names' is 'ab'"),
    (partial(rewrite_action, low=["a", 0]), r"no sound spec \(action: low and high: need numbers"),
    (cut_index, "damaged: cannot read .*index.json"),
    (missing_rows, "damaged: .*data/action has 1 rows, index.json counts"),
]


@pytest.mark.parametrize(("make", "message"), NOT_DATASETS)
@pytest.mark.parametrize("mode", ["r", "a"])
def test_folders_that_are_no_sound_dataset_are_refused(tmp_path, make, message, mode):
    make(tmp_path / "d")
    for _ in range(2):  # a refused append lets go of the lock
        with pytest.raises(UserError, match=message) as error:
            EpisodeStore.open(tmp_path / "d", mode)
        assert "\n" not in str(error.value) and "allow_pickle" not in str(error.value)


OTHER_SPECS = {
    "holds task 'example', not 'other'": {"task": "other"},
    r"observations \['front', 'state'\], not \['state'\]": {"obs": {"state": SPEC.obs["state"]}},
    r"observation 'state' with shape \(3,\), not \(4,\)": {
        "obs": {**SPEC.obs, "state": ArraySpec((4,), unit="m")}
    },
    "action with unit m/s, not rad/s": {"action": ArraySpec((2,), unit="rad/s")},
    "control_dt 0.1 s, not 0.05 s": {"control_dt": 0.05},
}


@pytest.mark.parametrize(("message", "change"), OTHER_SPECS.items(), ids=range(len(OTHER_SPECS)))
def test_another_spec_is_refused_by_what_differs(store, message, change):
    store.close()
    EpisodeStore.open(store.path, spec=SPEC)
    fewer = SPEC.with_obs({"state": SPEC.obs["state"]})
    EpisodeStore.open(store.path, spec=fewer)  # a reader needs no more than it asks for
    with pytest.raises(UserError, match="holds observations"):
        EpisodeStore.open(store.path, "a", spec=fewer)
    with pytest.raises(UserError, match=message):
        EpisodeStore.open(store.path, "a", spec=replace(SPEC, **change))
    EpisodeStore.open(store.path, "a").close()


@pytest.mark.parametrize("key", ["action", "timestamp", "a/b", "", ".hidden"])
def test_observation_keys_that_clash_are_refused(tmp_path, key):
    spec = replace(SPEC, obs={key: ArraySpec((1,))})
    with pytest.raises(UserError, match=f"observation key '{key}'"):
        EpisodeStore.create(tmp_path / "d", spec)
    assert not (tmp_path / "d").exists()


def test_create_leaves_other_peoples_folders_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        EpisodeStore.create(tmp_path, SPEC)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_only_one_writer_at_a_time(store):
    store.append(make_episode(0))
    with pytest.raises(UserError, match=f"is being written by process {os.getpid()}"):
        EpisodeStore.open(store.path, "a")
    with EpisodeStore.open(store.path) as reader:
        assert len(reader) == 1
        store.append(make_episode(1))
        assert len(reader) == 1
        assert_same(reader[0], make_episode(0))
        with pytest.raises(UserError, match="not open for append"):
            reader.append(make_episode(1))
    store.close()
    store.close()
    with pytest.raises(UserError, match="not open for append"):
        store.append(make_episode(2))
    with EpisodeStore.open(store.path, "a") as again:
        assert again.append(make_episode(2)) == 2


def test_a_dead_writer_does_not_block_and_a_forked_child_does_not_inherit_the_lock(store):
    store.close()
    code = (
        "import os, sys, time; from robofb.store.episodes import EpisodeStore\n"
        f"store = EpisodeStore.open({str(store.path)!r}, 'a')\n"
        "here, there = os.pipe()\n"
        "if os.fork() == 0: os.write(there, b'.'); time.sleep(60)\n"
        "os.read(here, 1)\n"  # a child lets go of the lock in its first moment, which a busy machine delays
        "print(os.getpid(), flush=True); os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[2]
    command = f'exec {sys.executable} -c "$CODE"'
    environment = {**os.environ, "PYTHONPATH": str(root), "CODE": code}
    writer = subprocess.Popen(
        command, shell=True, stdout=subprocess.PIPE, env=environment, start_new_session=True
    )
    try:
        dead = int(writer.stdout.readline())
        writer.wait()
        assert int((store.path / ".writer.lock").read_text()) == dead
        with EpisodeStore.open(store.path, "a") as again:
            assert again.append(make_episode(0)) == 0
        assert int((store.path / ".writer.lock").read_text()) == os.getpid()
    finally:
        os.killpg(writer.pid, 9)


@pytest.fixture
def open_folder():
    """A folder that every user may reach and write."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def plain_user():
    """Lay down root's right to write anywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_a_read_only_folder_can_be_read_and_says_so_when_written(open_folder, plain_user):
    folder = open_folder / "d"
    with EpisodeStore.create(folder, SPEC) as store:
        store.append(make_episode(0))
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    with EpisodeStore.open(folder) as reader:
        assert_same(reader[0], make_episode(0))
    with pytest.raises(UserError, match="cannot open dataset to append: the folder or its files are closed"):
        EpisodeStore.open(folder, "a")
    with pytest.raises(UserError, match="cannot create dataset: the folder or its files are closed"):
        EpisodeStore.create(folder / "inner", SPEC)
    folder.chmod(0o777)
    for path in folder.rglob("*"):
        path.chmod(0o777)


def test_a_thousand_episodes_are_found_by_number(tmp_path):
    spec = EnvSpec("t", {"state": ArraySpec((2,))}, ArraySpec((1,)), 0.1, 10)
    with EpisodeStore.create(tmp_path / "d", spec) as store:
        store.append(make_episode(0, 1000, spec))
    lines = [EpisodeEntry(end + 1, True, True, {"seed": end}).to_json() for end in range(1000)]
    (tmp_path / "d/index.json").write_bytes(dump_index(lines))  # the same 1,000 rows as 1,000 episodes
    for path in (tmp_path / "d/final").glob("*/.zarray"):
        header = json.loads(path.read_text())
        path.write_text(json.dumps({**header, "shape": [1000, *header["shape"][1:]]}))
    with EpisodeStore.open(tmp_path / "d") as store:
        assert len(store) == 1000
        np.testing.assert_array_equal(store[640].action, make_episode(0, 1000, spec).action[640:641])


def test_a_long_episode_of_images_is_never_copied_as_a_whole(tmp_path):
    """Chunks are made in turn, so that an episode may wait on disk whose images memory could not hold."""
    spec = EnvSpec("t", {"front": ArraySpec((3, 48, 64), "uint8")}, ArraySpec((1,)), 0.1, 10)
    episode = make_episode(0, 4000, spec)
    with EpisodeStore.create(tmp_path / "d", spec) as store:
        store.append(make_episode(1, 5, spec))
        tracemalloc.start()
        store.append(episode)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 0.4 * episode.obs["front"].nbytes  # 37 MB
        assert_same(store[1], episode)


def test_zarr_sees_clean_groups(store):
    fill(store, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = zarr.open_group(store.path / "data", mode="r")
        assert set(data.array_keys()) == {"state", "front", "action", "reward", "timestamp", "source"}


def test_update_changes_the_index_alone(tmp_path):
    with EpisodeStore.create(tmp_path / "d", SPEC) as store:
        fill(store, 3)
        before = store[1]
        rows = {
            path: path.read_bytes() for path in (tmp_path / "d").rglob("*") if path.parent.name == "action"
        }
        store.update({1: {"success": not before.success, "meta": {"bottlenecks": [2], "robot": None}}})
    with EpisodeStore.open(tmp_path / "d") as store:
        changed = store[1]
        assert_same(replace(changed, success=before.success, meta=before.meta), before)
        assert (changed.success, changed.meta["bottlenecks"]) == (not before.success, [2])
        assert "robot" not in changed.meta
    assert rows and rows == {path: path.read_bytes() for path in rows}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({3: {"success": True}}, r"no episode 3; valid: 0\.\.2"),
        ({0: {"end": 4}}, "episode's end cannot be changed; valid: success, terminated, meta"),
        ({0: {"success": True}, 1: {"success": "yes"}}, "success='yes': needs a bool"),
        ({0: {"meta": {"camera": object()}}}, "meta is not JSON-ready"),
    ],
)
def test_unsound_updates_change_nothing(tmp_path, changes, message):
    with EpisodeStore.create(tmp_path / "d", SPEC) as store:
        fill(store, 3)
        before = (tmp_path / "d/index.json").read_bytes()
        with pytest.raises(UserError, match=message):
            store.update(changes)
        assert (tmp_path / "d/index.json").read_bytes() == before
    with pytest.raises(UserError, match="not open for append"):
        EpisodeStore.open(tmp_path / "d").update({0: {"success": True}})
