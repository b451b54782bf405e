"""Pictures of beliefs."""

from __future__ import annotations

import numpy as np
import pytest

from robofb.trial_film import SIZE_PX, draw_map, fitted, stacked

RED = (214, 60, 46)


def ink(picture: np.ndarray) -> np.ndarray:
    """Return how dark blue each pixel is, (H, W)."""
    return 255 - picture[..., 0].astype(int)


def test_candidates_stand_where_their_parameters_are_the_likelier_the_darker() -> None:
    params = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    picture = draw_map(params, np.array([0.1, 0.2, 0.3, 0.4]), params[0])
    low, high = 20, SIZE_PX - 20
    places = [(high, low), (high, high), (low, low), (low, high)]  # row, column
    shades = [ink(picture)[row - 1, column - 1] for row, column in places]
    assert shades == sorted(shades) and shades[0] < shades[1] < shades[2] < shades[3]
    turned = draw_map(params, np.array([0.1, 0.2, 0.3, 0.4]), params[0], downwards=True)
    mirrored = [ink(turned)[SIZE_PX - row, column - 1] for row, column in places]
    assert mirrored == shades
    red = (picture == RED).all(-1)
    rows, columns = np.nonzero(red)
    assert rows.mean() == pytest.approx(high, abs=1.5) and columns.mean() == pytest.approx(low, abs=1.5)


def test_a_single_parameter_is_drawn_as_bars() -> None:
    params = np.linspace(0.0, 3.0, 7)[:, None]
    chances = np.array([0.0, 0.0, 0.1, 0.5, 0.25, 0.0, 0.0])
    picture = draw_map(params, chances, np.array([1.5]))
    across = np.linspace(20, SIZE_PX - 20, 7).astype(int)
    heights = [(ink(picture)[: SIZE_PX - 20, column] > 100).sum() for column in across]
    assert heights[3] == pytest.approx(160, abs=2) and heights[4] == pytest.approx(80, abs=2)
    assert max(heights[0], heights[6]) <= 3
    assert (picture[-5, across[3]] == RED).all() and not (picture[-5, across[0]] == RED).all()


def test_pictures_are_fitted_and_stacked() -> None:
    tile = fitted(np.zeros((96, 90, 3), np.uint8))
    assert tile.shape == (SIZE_PX, SIZE_PX, 3) and (tile == 0).all(-1).sum() == 96 * 90
    assert tile[100, 100].tolist() == [0, 0, 0]
    assert stacked([tile, tile, tile], 1).shape == (SIZE_PX, 3 * SIZE_PX + 16, 3)
    assert stacked([tile, tile], 0).shape == (2 * SIZE_PX + 8, SIZE_PX, 3)
