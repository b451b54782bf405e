"""Keep every test on one thread, without windows and away from the user's settings."""

import os
from collections.abc import Iterator
from importlib.util import find_spec

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


@pytest.fixture(autouse=True, scope="session")
def _hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let `pen_by_touch` be tested with a smaller hand where Gymnasium-Robotics is not installed."""
    if find_spec("gymnasium_robotics"):
        yield
        return
    from hand_scene import write_hand

    from robofb.envs.robots import shadow_hand

    folder = write_hand(tmp_path_factory.mktemp("hand"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shadow_hand, "installed_assets", lambda: folder)
        yield
