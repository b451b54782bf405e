"""Batches of images changed for training: sizes, shares, histories that change as one."""

import pytest
import torch

from robofb.augment.image_augment import ImageAugment, ImageAugmentTransform
from robofb.augment.images import random_crop
from robofb.errors import UserError
from robofb.types import Batch

KEYS = ("image_front", "image_wrist")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch_of(front, wrist=None):
    size = len(front)
    obs = {"state": torch.ones(size, 2, 3), KEYS[0]: front, KEYS[1]: front if wrist is None else wrist}
    mask = torch.ones(size, 4, dtype=torch.bool)
    return Batch(obs, torch.ones(size, 4, 2), mask, torch.ones(size))


def noise(size=8, history=2):
    return torch.randint(0, 256, (size, history, 3, 12, 10), generator=generator(9), dtype=torch.uint8)


def change(batch, seed=0, crops=None, **settings):
    return ImageAugmentTransform(ImageAugment(**settings), KEYS, crops or {})(batch, generator(seed))


def test_without_settings_and_windows_nothing_changes_and_nothing_is_drawn():
    batch, source = batch_of(noise()), generator()
    found = ImageAugmentTransform(ImageAugment(), KEYS, {})(batch, source)
    assert all(torch.equal(found.obs[key], batch.obs[key]) for key in batch.obs)
    assert torch.equal(source.get_state(), generator().get_state())


def test_windows_are_pieces_of_the_image_one_for_a_history_and_another_for_each_camera():
    front = torch.arange(120, dtype=torch.uint8).view(1, 1, 1, 12, 10).expand(200, 2, 3, 12, 10)
    found = change(batch_of(front), crops={"image_front": (9, 8), "image_wrist": (9, 8)}).obs
    corners = {}
    for key in KEYS:
        images = found[key]
        assert images.shape == (200, 2, 3, 9, 8)
        corner = images[:, 0, 0, 0, 0].long()
        corners[key] = corner
        piece = torch.arange(9)[:, None] * 10 + torch.arange(8)
        assert torch.equal(images.long(), (corner[:, None, None] + piece)[:, None, None].expand_as(images))
        assert set(corner.tolist()) == {10 * row + column for row in range(4) for column in range(3)}
    assert not torch.equal(*corners.values())


def test_only_named_cameras_are_cut():
    found = change(batch_of(noise()), crops={"image_front": (5, 5)}).obs
    assert found["image_front"].shape[-2:] == (5, 5)
    assert torch.equal(found["image_wrist"], noise())


@pytest.mark.parametrize(("reach", "corners"), [(0.0, {2}), (0.5, {1, 2, 3}), (1.0, {0, 1, 2, 3, 4})])
def test_how_far_windows_move(reach, corners):
    row = torch.arange(8, dtype=torch.uint8).expand(300, 1, 1, 8)
    found = random_crop(row, 1, 4, generator(), reach=reach)
    assert set(found[:, 0, 0, 0].tolist()) == corners


def test_no_reach_is_the_middle_that_the_policy_sees():
    whole = torch.arange(30, dtype=torch.uint8).view(1, 1, 5, 6)
    assert random_crop(whole, 2, 3, generator(), reach=0.0).flatten().tolist() == [7, 8, 9, 13, 14, 15]


def test_a_history_has_one_tint_and_one_blur():
    still = noise(size=6, history=1).expand(-1, 3, -1, -1, -1)
    found = change(batch_of(still), colour_jitter=0.5, blur=2.0).obs
    for key in KEYS:
        assert torch.equal(found[key][:, 0], found[key][:, 2])
        assert not torch.equal(found[key], still)
    assert not torch.equal(found[KEYS[0]], found[KEYS[1]])


def test_tints_differ_between_samples():
    grey = torch.full((50, 1, 3, 4, 4), 100, dtype=torch.uint8)
    level = change(batch_of(grey), colour_jitter=0.3).obs["image_front"][:, 0, 0, 0, 0]
    assert level.min() < 80 and level.max() > 120 and level.min() >= 70 and level.max() <= 130


def test_cameras_drop_out_with_their_whole_history():
    found = change(batch_of(noise(size=2000) | 1), camera_dropout=0.2).obs
    front, wrist = (found[key].flatten(2).amax(2) == 0 for key in KEYS)  # (B, To)
    assert torch.equal(front[:, 0], front[:, 1])
    assert abs(front.float().mean() - 0.2) < 0.03
    assert abs((front & wrist)[:, 0].float().mean() - 0.04) < 0.015


def test_a_seed_repeats_and_nothing_given_changes():
    settings = {"colour_jitter": 0.3, "blur": 1.0, "camera_dropout": 0.3, "crops": {"image_front": (8, 8)}}
    batch = batch_of(noise())
    first, again, other = (change(batch, seed, **settings) for seed in (1, 1, 2))
    for key in KEYS:
        assert first.obs[key].dtype == torch.uint8
        assert torch.equal(first.obs[key], again.obs[key])
        assert not torch.equal(first.obs[key], other.obs[key])
        assert torch.equal(batch.obs[key], noise())
    assert first.obs["state"] is batch.obs["state"] and first.action is batch.action


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"crop": 1.5}, "crop=1.5: must be at most 1"),
        ({"crop": -0.1}, "crop=-0.1"),
        ({"colour_jitter": 2}, "colour_jitter=2"),
        ({"blur": 0.05}, "blur=0.05: must be 0 or at least 0.1"),
        ({"blur": float("nan")}, "blur=nan"),
        ({"camera_dropout": 1.1}, "camera_dropout=1.1"),
    ],
)
def test_refuses_what_has_no_meaning(settings, words):
    with pytest.raises(UserError, match=words):
        ImageAugment(**settings)
