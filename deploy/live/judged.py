"""A gate that can say for a recording what it decided."""

from __future__ import annotations

from robofb.deploy.limits import Limits
from robofb.deploy.live.records import JUDGED
from robofb.deploy.pose import Pose
from robofb.deploy.safety import ChunkGate, Verdict


class NotedGate(ChunkGate):
    """Check chunks, and note the newest verdict and how many chunks were clamped at all.

    Args:
        limits, dt_s: see `ChunkGate`.
    """

    def __init__(self, limits: Limits, dt_s: float) -> None:
        super().__init__(limits, dt_s)
        self._num_clamped = 0
        self._newest: Verdict | None = None

    def check(self, chunk: object, start: Pose) -> Verdict:
        """See `ChunkGate.check`."""
        self._newest = verdict = super().check(chunk, start)
        self._num_clamped += bool(verdict.clamped)
        return verdict

    @property
    def totals(self) -> tuple[int, int, int]:
        """How many chunks passed, how many of these were clamped, and how many were refused."""
        refused = sum(count for name, count in self.counts.items() if name.startswith("refused"))
        return self.counts["passed"], self._num_clamped, refused

    @property
    def newest(self) -> list[bool]:
        """What was decided of the newest chunk, in the order of `records.JUDGED`; nothing where none came."""
        if self._newest is None:
            return [False] * len(JUDGED)
        said = {"refused": bool(self._newest.refused)} | dict.fromkeys(self._newest.clamped, True)
        return [said.get(what, False) for what in JUDGED]

    def forget(self) -> None:
        """Wait for the next chunk's verdict."""
        self._newest = None
