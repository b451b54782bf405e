"""Keep every test on one thread, without windows and away from the user's settings."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["SDL_VIDEODRIVER"] = "dummy"  # no test opens a window

import pytest
import torch
from hypothesis import settings

from robofb import build

build.TRUSTED_PREFIXES += ("fakes.", "train.")  # what configs in tests name

settings.register_profile("robofb", deadline=None, max_examples=50)
settings.load_profile("robofb")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Two workers share two cores: more threads would only fight."""
    torch.set_num_threads(1)
