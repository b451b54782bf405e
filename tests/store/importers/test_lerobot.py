import json
import shutil
from contextlib import ExitStack

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from format_examples import ACTION, IMAGE, STATE, lerobot

from robofb.errors import UserError
from robofb.store.foreign import Wishes
from robofb.store.importers import open_source

SIZE = (32, 48)  # height, width of video


def read(path, **wishes):
    with ExitStack() as stack:
        _, source = open_source(path, "auto", Wishes(**wishes), stack)
        return source, list(source.episodes())


def edit_info(path, **changes):
    file = path / "meta/info.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def edit_table(file, change):
    table = pq.read_table(file, partitioning=None)
    pq.write_table(change(table), file)


def test_tables_of_several_chunks(tmp_path):
    source, (first, second) = read(lerobot(tmp_path))
    np.testing.assert_array_equal(first.obs["state"][:3], STATE[:3])
    np.testing.assert_array_equal(second.action, ACTION[3:])
    np.testing.assert_array_equal(second.obs["image_top"][:5], IMAGE[3:].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(second.obs["force"][:5], STATE[3:, :1])  # a scalar column is (T, 1) here
    assert source.spec.obs["state"].names == ("a", "b", "c", "d")
    assert source.spec.action.names == ("left", "right")
    assert source.meta == {"robot_type": "so101", "splits": {"train": "0:2"}}
    assert 1 / source.spec.control_dt == pytest.approx(30.0)
    np.testing.assert_allclose(second.timestamps, np.arange(6) / 30, atol=1e-6)
    assert [first.meta["instruction"], second.meta["instruction"]] == ["lift the cube", "drop it"]
    assert source.spec.task == "lerobot"  # two tasks: the folder's name


def test_one_task_names_the_dataset(tmp_path):
    path = lerobot(tmp_path)
    edit_table(path / "meta/tasks.parquet", lambda table: table.slice(0, 1))
    for number in range(2):
        file = path / f"data/chunk-{number:03d}/file-000.parquet"
        edit_table(
            file, lambda t: t.set_column(t.schema.get_field_index("task_index"), "task_index", [[0] * len(t)])
        )
    source, episodes = read(path)
    assert source.spec.task == "lift the cube"
    assert episodes[1].meta["instruction"] == "lift the cube"


def test_tasks_that_lost_their_text_are_refused(tmp_path):
    path = lerobot(tmp_path)
    edit_table(path / "meta/tasks.parquet", lambda table: table.select(["task_index"]))
    with pytest.raises(UserError, match="has lost the tasks' text"):
        read(path)


@pytest.mark.parametrize("rows", [[0, 1], [0, 2, 1], [0, 1, 1]], ids=str)
def test_missing_or_unordered_frames_are_refused(tmp_path, rows):
    path = lerobot(tmp_path)
    edit_table(path / "data/chunk-000/file-000.parquet", lambda table: table.take(rows))
    with pytest.raises(UserError, match=r"episode 0 has \d rows, not the 3 in order that meta/ says"):
        read(path)


def test_a_missing_value_is_refused(tmp_path):
    path = lerobot(tmp_path)
    force = pa.array([1.0, None, 2.0], pa.float32())
    edit_table(
        path / "data/chunk-000/file-000.parquet", lambda t: t.set_column(2, "observation.force", force)
    )
    with pytest.raises(UserError, match="'observation.force' lacks 1 values"):
        read(path)


def test_a_gap_in_the_episodes_is_refused(tmp_path):
    path = lerobot(tmp_path)
    edit_table(path / "meta/episodes/chunk-000/file-000.parquet", lambda table: table.slice(1))
    with pytest.raises(UserError, match="lacks or repeats episode 0"):
        read(path)


@pytest.mark.parametrize("template", ["../secret-{chunk_index}.parquet", "/etc/passwd"])
def test_a_path_out_of_the_folder_is_refused(tmp_path, template):
    path = lerobot(tmp_path)
    edit_info(path, data_path=template)
    with pytest.raises(UserError, match="which lies outside it"):
        read(path)


def test_files_behind_links_are_read(tmp_path):
    """Downloads of the hub consist of links into a cache."""
    path = lerobot(tmp_path)
    shutil.move(path / "data", tmp_path / "cache")
    (path / "data").symlink_to(tmp_path / "cache")
    np.testing.assert_array_equal(read(path)[1][0].action, ACTION[:3])


@pytest.mark.parametrize("version", ["v2.1", "v3.1"])
def test_other_versions_are_refused_by_name(tmp_path, version):
    path = lerobot(tmp_path)
    edit_info(path, codebase_version=version)
    with pytest.raises(UserError, match=f"LeRobotDataset {version}; known: v3.0"):
        read(path)


def frames(count):
    """Return frames (T, H, W, 3) that differ strongly from each other and have soft edges."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    wave = [(np.sin((x + 7 * t) / 9) + np.cos((y - 5 * t) / 7)) * 50 + 100 + 7 * t for t in range(count)]
    return np.stack([np.stack([w, w[::-1], w[:, ::-1]], -1) for w in wave]).astype(np.uint8)


def with_video(path, images, rate=30):
    """Make observation.images.top a video in which both episodes follow one another."""
    file = path / "videos/observation.images.top/chunk-000/file-000.mp4"
    file.parent.mkdir(parents=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    info = json.loads((path / "meta/info.json").read_text())
    info["features"]["observation.images.top"] |= {"dtype": "video", "shape": [*SIZE, 3]}
    video_path = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    edit_info(path, features=info["features"], video_path=video_path)
    name = "videos/observation.images.top"

    def say(table):
        for key, values in {
            "chunk_index": [0, 0],
            "file_index": [0, 0],
            "from_timestamp": [0.0, 3 / 30],
            "to_timestamp": [3 / 30, 8 / 30],
        }.items():
            table = table.append_column(f"{name}/{key}", [values])
        return table

    edit_table(path / "meta/episodes/chunk-000/file-000.parquet", say)
    return path


def test_each_episode_finds_its_frames_in_a_shared_video(tmp_path):
    images = frames(8)
    source, (first, second) = read(with_video(lerobot(tmp_path), images))
    for number, episode, start in ((3, first, 0), (5, second, 3)):
        found = episode.obs["image_top"][:number].transpose(0, 2, 3, 1).astype(float)
        for step in range(number):  # nearer to its own frame than to any other
            errors = np.abs(found[step] - images).mean((1, 2, 3))
            assert errors.argmin() == start + step
            assert errors.min() < 4.0
    assert any("come from video, which lost detail" in note for note in source.notes)


def test_a_video_with_too_few_frames_is_refused(tmp_path):
    path = with_video(lerobot(tmp_path), frames(7))
    with pytest.raises(
        UserError, match=r"cut off or declared at a wrong rate: no frame at 0\.233 s \(1 of 5 missing\)"
    ):
        read(path)


def test_a_video_at_another_rate_than_declared_is_refused(tmp_path):
    path = with_video(lerobot(tmp_path), frames(8), rate=15)
    with pytest.raises(UserError, match="declared at a wrong rate"):
        read(path)
