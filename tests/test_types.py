import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robofb.types import SOURCE_AUGMENTED, SOURCE_NAMES, SOURCE_SCRIPTED, ArraySpec, EnvSpec, Episode, Step


@st.composite
def array_specs(draw):
    shape = tuple(draw(st.lists(st.integers(1, 4), max_size=3)))
    size = int(np.prod(shape))
    bounds = st.none() | st.lists(st.floats(-1e6, 1e6), min_size=size, max_size=size).map(tuple)
    return ArraySpec(
        shape=shape,
        dtype=draw(st.sampled_from(["float32", "uint8", "int64"])),
        unit=draw(st.text(max_size=5)),
        low=draw(bounds),
        high=draw(bounds),
        names=draw(st.sampled_from([(), tuple(f"x{i}_w" for i in range(size))])),
    )


ENV_SPECS = st.builds(
    EnvSpec,
    task=st.text(min_size=1, max_size=8),
    obs=st.dictionaries(st.text(min_size=1, max_size=8), array_specs(), max_size=3),
    action=array_specs(),
    control_dt=st.floats(1e-4, 10.0),
    max_steps=st.integers(1, 10**6),
    stages=st.lists(st.text(max_size=5), max_size=3).map(tuple),
)


@given(ENV_SPECS)
def test_a_spec_survives_json(spec):
    assert EnvSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize("field", ["low", "high", "names"])
def test_a_spec_counts_its_elements(field):
    values = ("a",) * 5 if field == "names" else (0.0,) * 5
    with pytest.raises(ValueError, match=f"ArraySpec.{field} has 5 entries for 6 elements"):
        ArraySpec((2, 3), **{field: values})
    assert getattr(ArraySpec((5,), **{field: values}), field) == values


def test_a_spec_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        ArraySpec((2,)).unit = "m"


def test_a_step_is_done_by_either_end():
    terminated, truncated = torch.tensor([0, 0, 1, 1]).bool(), torch.tensor([0, 1, 0, 1]).bool()
    step = Step({}, torch.zeros(4), terminated, truncated, {}, {})
    assert step.done.tolist() == [False, True, True, True]


def test_an_episode_counts_its_actions():
    action = np.zeros((3, 2), np.float32)
    episode = Episode({}, action, np.zeros(3, np.float32), True, True, np.arange(4.0), np.zeros(3, np.uint8))
    assert len(episode) == 3
    assert episode.meta == {}


def test_every_source_flag_has_its_name():
    assert SOURCE_NAMES[SOURCE_AUGMENTED] == "augmented"
    assert SOURCE_NAMES.index("scripted") == SOURCE_SCRIPTED == len(SOURCE_NAMES) - 1
