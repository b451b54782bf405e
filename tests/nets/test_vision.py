"""Networks that see images: sizes, keypoints by hand, rows that do not depend on each other."""

from functools import partial

import pytest
import torch

from robofb.errors import UserError
from robofb.nets.vision import (
    AveragePool,
    GridPool,
    ResNet,
    SpatialSoftmax,
    VisionEncoder,
    expected_positions,
)

TINY = {"channels": [8, 16], "blocks": [1, 1], "strides": [1, 2], "group_size": 4}


def test_the_default_is_resnet_18():
    """torchvision's resnet18 has 11,689,512 parameters, of which 513,000 are its classifier's."""
    with torch.device("meta"):
        network = ResNet()
        maps = network(torch.empty(2, 3, 224, 224))
    assert sum(weight.numel() for weight in network.parameters()) == 11_689_512 - 513_000
    assert maps.shape == (2, 512, 7, 7)
    assert network.num_channels == 512


@pytest.mark.parametrize(("size", "expected"), [((84, 84), (11, 11)), ((76, 60), (10, 8)), ((8, 8), (1, 1))])
def test_the_size_of_maps(size, expected):
    network = ResNet(**TINY)
    assert network(torch.zeros(1, 3, *size)).shape == (1, 16, *expected)


def test_rows_do_not_depend_on_each_other():
    torch.manual_seed(0)
    encoder = VisionEncoder(ResNet(**TINY), partial(SpatialSoftmax, keypoints=4), 5)
    images = torch.randn(6, 3, 32, 40)
    assert torch.allclose(encoder(images)[2:4], encoder(images[2:4]), atol=1e-5)
    assert encoder(images).shape == (6, 5)


def test_positions_by_hand():
    """Weights 1, 1, 2 at (column, row) of a map 3 wide and 2 high, positions -1..1 by centres."""
    scores = torch.full((1, 2, 2, 3), -torch.inf)
    scores[0, 0, 0, 0] = scores[0, 0, 1, 1] = 0.0
    scores[0, 0, 1, 2] = torch.tensor(2.0).log()
    scores[0, 1, 0, 1] = 3.0
    # First map: x = (-1 + 0 + 2 * 1) / 4, y = (-1 + 1 + 2 * 1) / 4. Second: all weight at (0, -1).
    expected = torch.tensor([[[0.25, 0.5], [0.0, -1.0]]])
    torch.testing.assert_close(expected_positions(scores), expected)


def test_a_map_without_a_feature_is_in_the_middle():
    torch.testing.assert_close(expected_positions(torch.ones(1, 1, 4, 7)), torch.zeros(1, 1, 2))


def test_positions_are_exact_in_half_precision_too():
    scores = torch.randn(2, 3, 10, 10, dtype=torch.bfloat16)
    found = expected_positions(scores)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected_positions(scores.float()))


def test_the_mean_by_hand():
    pool = AveragePool(1)
    assert pool(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).tolist() == [[3.0]]
    assert (pool.num_outputs, SpatialSoftmax(8, keypoints=5).num_outputs) == (1, 10)


def test_refuses_to_look_for_nothing():
    with pytest.raises(UserError, match="keypoints=0: needs at least 1"):
        SpatialSoftmax(8, keypoints=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": [8, 18]}, "18 channels are no multiple of group_size=4"),
        ({"blocks": [1]}, "each needs one number for each stage"),
        ({"channels": [], "blocks": [], "strides": []}, "each needs one number"),
        ({"strides": [1, 0]}, "at least 1"),
    ],
)
def test_refuses_sizes_in_one_line(changes, words):
    with pytest.raises(UserError, match=words) as error:
        ResNet(**{**TINY, **changes})
    assert "\n" not in str(error.value)


def test_grid_pool_by_hand():
    """Of a 4 x 4 map on a grid of 2 each cell is the mean of four, row by row, feature after feature."""
    pool = GridPool(1, features=2, grid=2)
    with torch.no_grad():
        pool.features.weight.copy_(torch.tensor([1.0, -2.0]).view(2, 1, 1, 1))
        pool.features.bias.copy_(torch.tensor([0.0, 1.0]))
    maps = torch.arange(16.0).view(1, 1, 4, 4)  # means 2.5, 4.5, 10.5, 12.5
    assert pool(maps).tolist() == [[2.5, 4.5, 10.5, 12.5, -4, -8, -20, -24]]
    assert pool.num_outputs == 8
    with pytest.raises(UserError, match="features=0, grid=2: need at least 1"):
        GridPool(1, features=0, grid=2)
