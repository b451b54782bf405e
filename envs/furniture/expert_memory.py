"""What scripted experts share who are also asked where others act: their memory, and a command that waits."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from robofb.envs.furniture.moves import Pose
from robofb.geometry import matrix_to_rotvec, rotvec_to_matrix
from robofb.rng import EpisodeRng

LEAD_M, LEAD_RAD = 0.08, 0.8  # of a command before the hand; an expert that is followed stays below


class ExpertMemory:
    """Save and restore what an expert remembers of B episodes.

    Attributes:
        MEMORY: names of the tensors (B, ...) that a step changes; the stream of errors comes on top.
    """

    MEMORY: ClassVar[tuple[str, ...]] = ()
    _rng: EpisodeRng

    def state_dict(self) -> dict[str, Any]:
        """Return the memory, a copy."""
        return {"rng": self._rng.state_dict(), **{name: getattr(self, name).clone() for name in self.MEMORY}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._rng.load_state_dict(state["rng"])
        for name in self.MEMORY:
            setattr(self, name, state[name].clone())


def within_lead(command: Pose, tcp: Pose) -> tuple[Pose, Tensor]:
    """Pull a commanded pose back to at most `LEAD_M` and `LEAD_RAD` from where the hand is.

    Returns:
        The command, unchanged where it is near enough; and where it was not, (n,) bool.
    """
    ahead = command.position - tcp.position
    turn = matrix_to_rotvec(command.rotation @ tcp.rotation.transpose(1, 2))
    far, turned = (ahead.norm(dim=-1) > LEAD_M)[:, None], (turn.norm(dim=-1) > LEAD_RAD)[:, None]
    position = tcp.position + shortened(ahead, torch.tensor(LEAD_M))
    rotation = rotvec_to_matrix(shortened(turn, torch.tensor(LEAD_RAD))) @ tcp.rotation
    pulled = Pose(
        torch.where(far, position, command.position),
        torch.where(turned[..., None], rotation, command.rotation),
    )
    return pulled, (far | turned)[:, 0]


def shortened(vector: Tensor, limit: Tensor) -> Tensor:
    """Return vectors (n, 3) shortened to at most `limit` () or (n, 1)."""
    return vector * (limit / vector.norm(dim=-1, keepdim=True).clamp_min(1e-9)).clamp_max(1.0)
