"""The peers of arms that the tests bring, for benchmarks."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from ur_box import HEARD  # type: ignore[import-not-found]
from ur_peer import UrPeer, ur_peer  # type: ignore[import-not-found]

__all__ = ["HEARD", "UrPeer", "ur_peer"]
