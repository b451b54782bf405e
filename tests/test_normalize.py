import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robofb.errors import UserError
from robofb.normalize import Normalizer, is_image, low_dim_specs
from robofb.types import ArraySpec, EnvSpec

SPEC = EnvSpec(
    task="t",
    obs={
        "state": ArraySpec((3,)),
        "observation.force": ArraySpec((2, 2)),
        "front": ArraySpec((3, 8, 8), "uint8"),
    },
    action=ArraySpec((2,)),
    control_dt=0.1,
    max_steps=10,
)


def stats_of(**rows):
    """Return statistics of (N, ...) arrays, one for each key."""
    return {
        key: {"min": x.min(0), "max": x.max(0), "mean": x.mean(0), "std": x.std(0)} for key, x in rows.items()
    }


def test_minmax_by_hand():
    normalizer = Normalizer(stats_of(state=np.array([[0.0, -4.0, 7.0], [10.0, 4.0, 7.0]])))
    y = normalizer(torch.tensor([[0.0, -4.0, 7.0], [10.0, 4.0, 7.0], [7.5, 1.0, 9.0]]), "state")
    assert y.tolist() == [[-1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [0.5, 0.25, 0.0]]
    assert normalizer.inverse(y, "state").tolist() == [[0.0, -4.0, 7.0], [10.0, 4.0, 7.0], [7.5, 1.0, 7.0]]


def test_meanstd_by_hand():
    normalizer = Normalizer(stats_of(state=np.array([[1.0], [3.0], [5.0], [7.0]])), mode="meanstd")
    y = normalizer(torch.tensor([[4.0], [4.0 + 5.0**0.5]]), "state")
    assert y.flatten().tolist() == pytest.approx([0.0, 1.0])
    assert normalizer.inverse(torch.tensor([[-2.0]]), "state").item() == pytest.approx(4.0 - 2.0 * 5.0**0.5)


def test_observations_are_clamped_and_actions_never():
    normalizer = Normalizer(
        stats_of(state=np.array([[-1.0], [1.0]]), action=np.array([[-1.0], [1.0]])), clamp=3.0
    )
    x = torch.tensor([[-9.0], [2.5], [9.0]])
    assert normalizer(x, "state").flatten().tolist() == [-3.0, 2.5, 3.0]
    assert normalizer(x, "action").flatten().tolist() == [-9.0, 2.5, 9.0]


@settings(deadline=None)
@given(
    low=st.floats(-100, 100, width=32),
    span=st.floats(2.0**-7, 2.0**10, width=32),
    share=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8),
)
def test_minmax_stays_within_one_and_inverts(low, span, share):
    values = torch.tensor([low, low + span, *(low + s * span for s in share)]).unsqueeze(-1)
    normalizer = Normalizer(stats_of(action=values.double().numpy()))
    y = normalizer(values, "action")
    size = float(values.abs().max())
    tolerance = 1e-5 * (1.0 + size / span)  # float32 rounds the input to 1e-7 of its size
    assert float(y.abs().max()) <= 1.0 + tolerance
    torch.testing.assert_close(y[:2].flatten(), torch.tensor([-1.0, 1.0]), atol=tolerance, rtol=0)
    torch.testing.assert_close(normalizer.inverse(y, "action"), values, atol=1e-5 * (size + span), rtol=0)


def test_jitter_of_a_resting_contact_counts_as_constant():
    resting = 0.4 + 1e-6 * np.random.default_rng(0).normal(size=(100, 1))
    normalizer = Normalizer(stats_of(state=resting, action=resting))
    assert normalizer(torch.tensor([[0.400002]]), "state").item() == 0.0
    assert normalizer.inverse(torch.tensor([[0.7]]), "action").item() == pytest.approx(0.4, abs=1e-5)


def test_checkpoint_loads_into_an_empty_normaliser_of_any_mode():
    rng = np.random.default_rng(0)
    stats = stats_of(
        state=rng.normal(size=(20, 3)),
        action=rng.normal(size=(20, 2)),
        **{"observation.force": rng.normal(size=(20, 2, 2))},
    )
    for mode in ("minmax", "meanstd"):
        saved = Normalizer(stats, mode=mode, clamp=3.0)
        file = io.BytesIO()
        torch.save(saved.state_dict(), file)
        file.seek(0)
        empty = Normalizer.empty(SPEC, clamp=3.0)
        empty.load_state_dict(torch.load(file, weights_only=True))
        for key, shape in (("state", (3,)), ("observation.force", (2, 2)), ("action", (2,))):
            x = 4.0 * torch.randn(5, 7, *shape)
            assert torch.equal(empty(x, key), saved(x, key))
            assert torch.equal(empty.inverse(x, key), saved.inverse(x, key))


def test_an_empty_normaliser_refuses_to_work():
    with pytest.raises(UserError, match="normaliser is empty"):
        Normalizer.empty(SPEC)(torch.zeros(1, 3), "state")
    with pytest.raises(UserError, match="normaliser is empty"):
        Normalizer.empty(SPEC).inverse(torch.zeros(1, 2), "action")


def test_mistakes_are_named():
    normalizer = Normalizer(stats_of(state=np.zeros((2, 3)), action=np.zeros((2, 2))))
    with pytest.raises(UserError, match="no statistics of 'joints'; it has: state, action"):
        normalizer(torch.zeros(1, 3), "joints")
    with pytest.raises(UserError, match="mode 'max' is unknown; valid: minmax, meanstd"):
        Normalizer({}, mode="max")
    with pytest.raises(UserError, match="statistics of 'state' hold NaN"):
        Normalizer(stats_of(state=np.array([[np.nan]])))


def test_nothing_is_trained_and_everything_moves_with_the_module():
    normalizer = Normalizer(stats_of(state=np.array([[0.0], [1.0]])))
    assert list(normalizer.parameters()) == []
    assert normalizer.to(torch.float64)(torch.ones(1, 1, dtype=torch.float64), "state").dtype == torch.float64


def test_images_have_no_statistics():
    assert list(low_dim_specs(SPEC)) == ["state", "observation.force", "action"]
    assert is_image(SPEC.obs["front"])
    assert not is_image(ArraySpec((3, 8, 8), "float32"))
