from contextlib import ExitStack

import numpy as np
import pytest
from format_examples import (
    ACTION,
    IMAGE,
    PARTS,
    QUAT_XYZW,
    REWARD,
    ROT_COLUMNS,
    ROT_ROWS,
    STATE,
    juicer,
    juicer_raw,
)
from scipy.spatial.transform import Rotation

from robofb.errors import UserError
from robofb.store.foreign import Wishes
from robofb.store.importers import open_source
from robofb.store.juicer import columns_from_rows, rot6d_from_xyzw


def read(path, **wishes):
    with ExitStack() as stack:
        _, source = open_source(path, "auto", Wishes(**wishes), stack)
        return source, list(source.episodes())


def test_a_quarter_turn_about_z_by_hand():
    np.testing.assert_array_equal(columns_from_rows(ROT_ROWS[None])[0], ROT_COLUMNS)
    row = np.concatenate([[1, 2, 3], QUAT_XYZW, [4]]).astype(np.float32)[None]
    np.testing.assert_allclose(rot6d_from_xyzw(row)[0], [1, 2, 3, *ROT_COLUMNS, 4], atol=1e-7)


def test_rotations_agree_with_scipy():
    matrices = Rotation.random(20, random_state=0).as_matrix()
    by_columns = matrices[:, :, :2].transpose(0, 2, 1).reshape(20, 6)
    np.testing.assert_allclose(columns_from_rows(matrices[:, :2].reshape(20, 6)), by_columns, atol=1e-6)
    xyzw = Rotation.from_matrix(matrices).as_quat()
    rows = np.concatenate([np.zeros((20, 3)), xyzw, np.zeros((20, 1))], 1)
    np.testing.assert_allclose(rot6d_from_xyzw(rows)[:, 3:9], by_columns, atol=1e-6)
    np.testing.assert_array_equal(
        rot6d_from_xyzw(rows), rot6d_from_xyzw(np.where([0, 0, 0, 1, 1, 1, 1, 0], -rows, rows))
    )


def test_processed_episodes(tmp_path):
    source, episodes = read(juicer(tmp_path))
    assert source.spec.task == "one_leg"
    assert 1 / source.spec.control_dt == pytest.approx(10.0)
    last = episodes[1]  # rows 3..7: unsigned ends did not wrap
    assert len(last) == 5
    assert source.spec.obs["state"].names[3] == "ee_rot6d_base_0"
    np.testing.assert_array_equal(last.obs["state"][0, 3:9], ROT_COLUMNS)
    np.testing.assert_array_equal(last.obs["state"][:5, :3], STATE[3:, :3])
    np.testing.assert_array_equal(last.obs["state"][5], last.obs["state"][4])
    np.testing.assert_array_equal(last.action[:, :3], STATE[3:, :3])
    np.testing.assert_array_equal(last.obs["image_wrist"][:5], IMAGE[3:].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(last.obs["image_front"][4], IMAGE[0].transpose(2, 0, 1))
    poses = PARTS[3:].reshape(5, 2, 7)
    np.testing.assert_array_equal(last.obs["parts_poses"][:5].reshape(5, 2, 7)[..., 3], poses[..., 6])
    assert source.spec.obs["parts_poses"].names[3] == "part0_quat_tag_w"
    np.testing.assert_array_equal(episodes[0].reward, REWARD[:3])
    assert episodes[0].meta["bottlenecks"][0]["step"] == 2
    assert episodes[1].meta["bottlenecks"] == [
        {"step": 1, "by": "person", "why": "marked in JUICER's augment_states"}
    ]
    assert episodes[1].meta["skill_steps"] == [4]


def test_partial_success_is_no_success(tmp_path):
    source, (whole, partial) = read(juicer(tmp_path))
    assert (whole.success, partial.success) == (True, False)
    assert (whole.meta["partial_success"], partial.meta["partial_success"]) == (False, True)
    assert any("partial successes as successes" in note for note in source.notes)


@pytest.mark.parametrize("shape", [(0,), (8, 0)])
def test_empty_part_poses_are_left_out(tmp_path, shape):
    source, _ = read(juicer(tmp_path, parts_poses=np.empty(shape, np.float32)))
    assert "parts_poses" not in source.spec.obs
    assert "parts_poses is empty and is left out" in source.notes


def test_either_action_can_be_chosen_and_clipping_and_frames_are_told(tmp_path):
    path = juicer(tmp_path)
    source, episodes = read(path, action="action/delta")
    np.testing.assert_array_equal(episodes[0].action[:, :3], STATE[:3, :3] * np.float32(0.5))
    assert source.spec.action.names[0] == "ee_pos_delta_x"
    assert read(path)[0].spec.action.names[0] == "ee_pos_base_x"
    text = " ".join(source.notes)
    for word in ("clipped to 2.5 cm", "AprilTag", "first two columns", "xyzw", "repeated"):
        assert word in text


def test_raw_and_processed_agree(tmp_path):
    """Raw observations have one more row, quaternions, and no clipping."""
    source, (whole, second) = read(juicer_raw(tmp_path))
    assert [len(whole), len(second)] == [3, 5]
    _, (processed, _) = read(juicer(tmp_path))
    np.testing.assert_allclose(whole.obs["state"][:, :9], processed.obs["state"][:, :9], atol=1e-6)
    np.testing.assert_array_equal(
        whole.obs["state"][1, 9:], [*STATE[1, :3] * 2, *STATE[1, :3] * 3, STATE[1, 3]]
    )
    np.testing.assert_array_equal(whole.obs["image_wrist"], processed.obs["image_wrist"])
    np.testing.assert_array_equal(whole.obs["parts_poses"], processed.obs["parts_poses"])
    np.testing.assert_allclose(whole.action[:, 3:9], np.tile(ROT_COLUMNS, (3, 1)), atol=1e-6)
    assert whole.action[:, 9].tolist() == [-1, -1, -1]
    np.testing.assert_array_equal(whole.reward, REWARD[:3])
    assert whole.meta["skill_steps"] == [1]
    assert not any("repeated" in note for note in source.notes)
    assert source.spec.task == "one_leg"


def test_a_raw_demonstration_in_a_partial_success_folder_is_no_success(tmp_path):
    path = juicer_raw(tmp_path)
    (path / "success/0.pkl").rename(path / "partial_success/0.pkl")
    _, (partial, whole) = read(path)
    assert (partial.success, whole.success) == (False, True)


def test_a_hostile_demonstration_is_refused_in_one_line(tmp_path):
    (tmp_path / "evil.pkl").write_bytes(b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00true\x85R.")
    with pytest.raises(UserError, match=r"evil\.pkl is refused: it names os\.system"):
        read(tmp_path)


def test_processed_actions_of_another_size_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"action/pos has rows of shape \(2,\), expected \(10,\)"):
        read(juicer(tmp_path, **{"action/pos": ACTION}))
