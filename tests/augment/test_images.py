"""Image augmentation against one-image-at-a-time references."""

import numpy as np
import pytest
import torch

from robofb.augment import images as change
from robofb.errors import UserError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(size=6, height=9, width=11, seed=0):
    return torch.randint(0, 256, (size, 3, height, width), generator=generator(seed), dtype=torch.uint8)


def test_crop_is_what_slicing_gives():
    batch = pictures()
    top, left = torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([5, 4, 3, 2, 1, 0])
    found = change.crop_at(batch, top, left, 5, 6)
    for row in range(6):
        expected = batch[row, :, top[row] : top[row] + 5, left[row] : left[row] + 6]
        assert torch.equal(found[row], expected)


def test_random_crops_reach_every_place():
    batch = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4).repeat(400, 1, 1, 1)
    corners = change.random_crop(batch, 3, 2, generator())[:, 0, 0, 0]
    assert sorted(corners.unique().tolist()) == [0, 1, 2, 4, 5, 6]  # 2 rows x 3 columns of places
    whole = change.random_crop(batch, 4, 4, generator())
    assert torch.equal(whole, batch)


def test_centre_crop_is_the_middle():
    assert change.centre_crop(torch.arange(25).view(1, 1, 5, 5), 3, 1).flatten().tolist() == [7, 12, 17]


def test_jitter_against_one_pixel_by_hand():
    """Grey 0.299 r + 0.587 g + 0.114 b; one red pixel, so the mean grey is its own: contrast does nothing."""
    red = torch.tensor([0.5, 0.0, 0.0]).view(1, 3, 1, 1)
    bright = change.jitter_by(red, torch.tensor([[1.2, 1.0, 1.0]])).flatten()
    np.testing.assert_allclose(bright, [0.6, 0, 0], atol=1e-6)
    pale = change.jitter_by(red, torch.tensor([[1.0, 1.0, 0.0]])).flatten()
    np.testing.assert_allclose(pale, [0.1495] * 3, atol=1e-6)


def test_jitter_against_a_slow_reference():
    batch, factors = pictures(), torch.rand(6, 3, generator=generator(3)) + 0.5
    found = change.jitter_by(batch, factors)
    for row in range(6):
        brightness, contrast, saturation = factors[row].double().numpy()
        pixels = np.clip(batch[row].double().numpy() / 255 * brightness, 0, 1)
        weights = np.array([0.299, 0.587, 0.114])
        mean = np.einsum("c,chw->hw", weights, pixels).mean()
        pixels = np.clip((1 - contrast) * mean + contrast * pixels, 0, 1)
        grey = np.einsum("c,chw->hw", weights, pixels)
        pixels = np.clip((1 - saturation) * grey + saturation * pixels, 0, 1)
        assert np.abs(found[row].double().numpy() - pixels * 255).max() <= 0.51


def test_blur_against_a_slow_reference():
    batch, sigmas, radius = pictures(3), torch.tensor([0.1, 0.8, 1.5]), 4
    found = change.blur_by(batch.float() / 255, sigmas, radius)
    for row, sigma in enumerate(sigmas.tolist()):
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        kernel = np.outer(weights, weights) / weights.sum() ** 2
        padded = np.pad(batch[row].numpy() / 255, ((0, 0), (radius,) * 2, (radius,) * 2), mode="edge")
        for y, x in ((0, 0), (4, 5), (8, 10)):
            window = padded[:, y : y + 2 * radius + 1, x : x + 2 * radius + 1]
            np.testing.assert_allclose(found[row, :, y, x], (window * kernel).sum((1, 2)), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
def test_nothing_changes_type_size_or_range_and_a_seed_repeats(dtype):
    batch = pictures() if dtype == torch.uint8 else (pictures().float() / 255).to(dtype)
    kept = batch.clone()
    for function in (
        lambda x, g: change.colour_jitter(x, 0.3, g),
        lambda x, g: change.blur(x, 2.0, g),
        lambda x, g: change.random_crop(x, 9, 11, g),
    ):
        first, again, other = (function(batch, generator(seed)) for seed in (0, 0, 1))
        assert first.dtype == dtype and first.shape == batch.shape and torch.equal(first, again)
        assert first.min() >= 0 and first.max() <= (255 if dtype == torch.uint8 else 1)
        assert torch.equal(batch, kept)
    assert not torch.equal(
        change.colour_jitter(batch, 0.3, generator(0)), change.colour_jitter(batch, 0.3, generator(1))
    )
    assert other.shape == batch.shape


def test_no_jitter_changes_no_bit():
    assert torch.equal(change.colour_jitter(pictures(), 0.0, generator()), pictures())


def test_each_camera_drops_by_itself():
    batch = {"image_front": torch.ones(4000, 3, 1, 1), "image_wrist": torch.ones(4000, 3, 1, 1)}
    found = change.drop_cameras({**batch, "state": torch.ones(4000, 2)}, 0.1, generator(), batch)
    front, wrist = (found[key].flatten(1).sum(1) for key in batch)
    assert set(front.tolist()) == {0.0, 3.0}  # a whole image or none of it
    for camera in (front, wrist):
        assert abs((camera == 0).float().mean() - 0.1) < 0.015
    assert abs(((front == 0) & (wrist == 0)).float().mean() - 0.01) < 0.006
    assert (found["state"] == 1).all() and (batch["image_front"] == 1).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: change.random_crop(b, 10, 3, generator()), "crop of 10 x 3 does not fit images of 9 x 11"),
        (lambda b: change.centre_crop(b, 0, 3), "crop of 0 x 3"),
        (lambda b: change.colour_jitter(b, 1.5, generator()), "strength=1.5"),
        (lambda b: change.blur(b, 0.0, generator()), "most_sigma_px=0.0"),
        (lambda b: change.drop_cameras({"a": b}, 2.0, generator(), ["a"]), "share=2.0"),
        (lambda b: change.drop_cameras({"a": b}, 0.5, generator(), ["c"]), "no camera 'c'; there are a"),
    ],
)
def test_impossible_settings_are_refused(call, message):
    with pytest.raises(UserError, match=message):
        call(pictures())
