import io
import json

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from format_examples import LENGTHS, episode, robofb
from PIL import Image

from robofb.errors import UserError
from robofb.store.convert import convert
from robofb.store.episodes import EpisodeStore
from robofb.store.exporters import lerobot
from robofb.store.foreign import Wishes
from robofb.types import ArraySpec, EnvSpec, Episode


@pytest.fixture
def exported(tmp_path):
    convert(robofb(tmp_path), tmp_path / "there", target_format="lerobot")
    return tmp_path / "there"


def test_columns_as_the_format_says(exported):
    table = pq.read_table(exported / "data/chunk-000/file-000.parquet", partitioning=None)
    assert table["episode_index"].to_pylist() == [0] * 3 + [1] * 5
    assert table["index"].to_pylist() == list(range(8))
    assert table["frame_index"].to_pylist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert str(table.schema.field("timestamp").type) == "float"
    np.testing.assert_array_equal(table["timestamp"].to_numpy()[:3], np.float32([0, 0.1, 0.2]))
    assert table.schema.field("observation.state").type.list_size == 4
    assert str(table.schema.field("observation.touch").type) == "float"  # shape (1,) is a scalar
    np.testing.assert_array_equal(table["action"].to_pylist()[3:], episode(1, 5).action)
    cell = table["observation.images.front"].to_pylist()[3]
    picture = np.asarray(Image.open(io.BytesIO(cell["bytes"])))
    np.testing.assert_array_equal(picture.transpose(2, 0, 1), episode(1, 5).obs["image_front"][0])
    assert table["next.done"].to_pylist() == [False, False, True, False, False, False, False, True]


def test_meta_as_the_format_says(exported):
    info = json.loads((exported / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_frames"]) == ("v3.0", 10, 8)
    assert info["features"]["observation.state"] == {
        "dtype": "float32",
        "shape": [4],
        "names": ["x_w", "y_w", "z_w", "width"],
    }
    columns = set(pq.read_schema(exported / "data/chunk-000/file-000.parquet").names)
    assert columns == set(info["features"])
    rows = pq.read_table(exported / "meta/episodes/chunk-000/file-000.parquet", partitioning=None).to_pylist()
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows] == [(0, 3), (3, 8)]
    np.testing.assert_allclose(rows[1]["stats/action/mean"], episode(1, 5).action.mean(0), rtol=1e-5)
    tasks = pq.read_table(exported / "meta/tasks.parquet")
    assert tasks["task"].to_pylist() == ["example"]
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]


def test_merged_statistics_are_those_of_all_frames(exported):
    stats = json.loads((exported / "meta/stats.json").read_text())
    actions = np.concatenate([episode(0, 3).action, episode(1, 5).action])
    np.testing.assert_allclose(stats["action"]["mean"], actions.mean(0), rtol=1e-5)
    np.testing.assert_allclose(stats["action"]["std"], actions.std(0), rtol=1e-5)
    assert stats["action"]["count"] == [8]
    pixels = np.concatenate([episode(n, t).obs["image_front"][:-1] for n, t in enumerate(LENGTHS)]) / 255
    found = np.array(stats["observation.images.front"]["max"])
    assert found.shape == (3, 1, 1)
    np.testing.assert_allclose(found[:, 0, 0], pixels.max((0, 2, 3)))


def test_full_files_are_followed_by_others(tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot, "FILE_BYTES", 1)
    monkeypatch.setattr(lerobot, "CHUNK_FILES", 1)
    convert(robofb(tmp_path), tmp_path / "there", target_format="lerobot")
    files = sorted(
        file.relative_to(tmp_path / "there").as_posix()
        for file in (tmp_path / "there/data").rglob("*.parquet")
    )
    assert files == ["data/chunk-000/file-000.parquet", "data/chunk-001/file-000.parquet"]
    convert(tmp_path / "there", tmp_path / "back")
    with EpisodeStore.open(tmp_path / "back") as store:
        np.testing.assert_array_equal(store[1].action, episode(1, 5).action)


def moving_scene(steps, height=64, width=96):
    """Return an episode whose camera sees soft shapes move."""
    y, x = np.mgrid[:height, :width]
    images = [
        [(np.sin((x + 3 * t) / 11 + c) + np.cos((y - 2 * t) / 13)) * 60 + 128 for c in range(3)]
        for t in range(steps + 1)
    ]
    return Episode(
        obs={"image_front": np.array(images).astype(np.uint8)},
        action=np.zeros((steps, 1), np.float32),
        reward=np.zeros(steps, np.float32),
        terminated=True,
        success=True,
        timestamps=np.arange(steps + 1) / 10,
        source=np.zeros(steps, np.uint8),
    )


def film(folder, height=64, width=96):
    spec = EnvSpec("film", {"image_front": ArraySpec((3, height, width), "uint8")}, ArraySpec((1,)), 0.1, 20)
    with EpisodeStore.create(folder / "film", spec) as store:
        for steps in (7, 12):
            store.append(moving_scene(steps, height, width))
    return folder / "film"


def test_video_comes_back_within_a_small_error(tmp_path):
    done = convert(film(tmp_path), tmp_path / "there", target_format="lerobot", wishes=Wishes(video=True))
    assert done.num_steps == 19
    with av.open(str(tmp_path / "there/videos/observation.images.front/chunk-000/file-001.mp4")) as container:
        assert container.streams.video[0].average_rate == 10
        assert sum(1 for _ in container.decode(video=0)) == 12
    convert(tmp_path / "there", tmp_path / "back")
    with EpisodeStore.open(tmp_path / "back") as store:
        for number, steps in enumerate((7, 12)):
            found = store[number].obs["image_front"][:-1].astype(float)
            error = np.abs(found - moving_scene(steps).obs["image_front"][:-1])
            assert error.mean() < 2.0  # of 255
            assert error.max() < 24


def test_odd_sizes_cannot_become_video(tmp_path):
    with pytest.raises(UserError, match="images of 97x64 cannot become video: sizes must be even"):
        convert(
            film(tmp_path, 64, 97), tmp_path / "there", target_format="lerobot", wishes=Wishes(video=True)
        )
    assert not (tmp_path / "there").exists()


def test_two_observations_of_one_name_are_refused(tmp_path):
    image = ArraySpec((3, 64, 96), "uint8")
    spec = EnvSpec("film", {"image_front": image, "front": image}, ArraySpec((1,)), 0.1, 20)
    scene = moving_scene(2)
    with EpisodeStore.create(tmp_path / "d", spec) as store:
        store.append(Episode(**{**vars(scene), "obs": {**scene.obs, "front": scene.obs["image_front"]}}))
    with pytest.raises(
        UserError, match="image_front and front would both become feature 'observation.images.front'"
    ):
        convert(tmp_path / "d", tmp_path / "there", target_format="lerobot")
