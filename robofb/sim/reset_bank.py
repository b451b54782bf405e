"""Reset banks: simulator states from which some training episodes start instead of from the task's own."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.rng import BANK_STREAM, EpisodeRng, derive_seeds
from robofb.sim.bank_kinds import KINDS
from robofb.store.atomic import explain, replace_file
from robofb.store.checks import check_same_spec
from robofb.types import EnvSpec

FORMAT, VERSION = "robofb-reset-bank", 1
MAX_BYTES = 8_000_000_000
EQUAL_SHARES = dict.fromkeys(KINDS, 1 / len(KINDS))
_MEMBERS = {f"{name}.npy" for name in ("header", "states", "kind")}
_DAMAGED = (
    *(ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
)


@dataclass(frozen=True)
class ResetBank:
    """Simulator states of one task.

    Attributes:
        spec: of the task.
        model: digest of the compiled scene, see `model_digest`.
        states: (N, S) float64, each MuJoCo's `mjSTATE_INTEGRATION`.
        kind: (N,) uint8, index into `KINDS`.
        provenance: JSON-ready, how it was made.

    Raises:
        ValueError: the arrays are not sound.
    """

    spec: EnvSpec
    model: str
    states: np.ndarray
    kind: np.ndarray
    provenance: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.states.ndim != 2 or self.states.dtype != np.float64 or not self.states.size:
            raise ValueError(f"states are {self.states.dtype} {self.states.shape}, not float64 (N, S)")
        if self.kind.shape != self.states.shape[:1] or self.kind.dtype != np.uint8:
            raise ValueError(f"kinds are {self.kind.dtype} {self.kind.shape}, not uint8 (N,)")
        if self.kind.max() >= len(KINDS):
            raise ValueError(f"kind {self.kind.max()}; valid: 0..{len(KINDS) - 1}")
        if not np.isfinite(self.states).all():
            raise ValueError("states hold NaN or infinity")

    @property
    def counts(self) -> dict[str, int]:
        """Number of states of each kind."""
        return {name: int((self.kind == index).sum()) for index, name in enumerate(KINDS)}

    def save(self, path: Path) -> None:
        """Write one npz file, whole or not at all; the same bank gives the same bytes.

        Raises:
            UserError: it cannot be written.
        """
        header = {
            "format": FORMAT,
            "version": VERSION,
            "spec": self.spec.to_dict(),
            "model": self.model,
            "provenance": dict(self.provenance),
        }
        text = np.frombuffer(json.dumps(header).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, header=text, states=self.states, kind=self.kind)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, buffer.getvalue())
        except OSError as error:
            raise UserError(explain(error, f"{path}: the bank is not saved")) from error

    @classmethod
    def open(cls, path: str | Path) -> ResetBank:
        """Read a bank; nothing in the file is ever executed.

        Raises:
            UserError: there is none, or it is damaged.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                held = archive.infolist()
                if {member.filename for member in held} != _MEMBERS or len(held) != len(_MEMBERS):
                    raise ValueError("it does not hold header, states and kind alone")
                if sum(member.file_size for member in held) > MAX_BYTES:
                    raise ValueError(f"it holds more than {MAX_BYTES} bytes")
            with np.load(path, allow_pickle=False) as arrays:
                header = json.loads(arrays["header"].astype(np.uint8).tobytes())
                if (header["format"], header["version"]) != (FORMAT, VERSION):
                    raise ValueError(f"format {header['format']!r}, version {header['version']!r}")
                return cls(
                    EnvSpec.from_dict(header["spec"]),
                    str(header["model"]),
                    arrays["states"],
                    arrays["kind"],
                    dict(header["provenance"]),
                )
        except OSError as error:
            raise UserError(explain(error, f"{path}: the bank cannot be read")) from None
        except _DAMAGED as error:
            raise UserError(
                f"{path} is no sound reset bank: {(str(error).splitlines() or [type(error).__name__])[0]}"
            ) from None

    def check(self, spec: EnvSpec, model: mujoco.MjModel) -> None:
        """Raise UserError unless the bank's states are of this task and this compiled scene."""
        check_same_spec(self.spec, spec, "the reset bank")
        size = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION)
        if self.states.shape[1] != size:
            raise UserError(
                f"the reset bank holds states of {self.states.shape[1]} values, task {spec.task} has {size}"
            )
        if (digest := model_digest(model)) != self.model:
            raise UserError(
                f"the reset bank was made for another scene of task {spec.task} "
                f"({self.model[:12]}, now {digest[:12]}): make it anew with robofb data bank"
            )


def model_digest(model: mujoco.MjModel) -> str:
    """Return a SHA-256 of a scene's sizes, names and shapes: what a state's meaning depends on."""
    counted = ("nq", "nv", "na", "nu", "nbody", "njnt", "ngeom", "neq", "nmocap")
    digest = hashlib.sha256(json.dumps([int(getattr(model, name)) for name in counted]).encode())
    digest.update(bytes(model.names))
    digest.update(model.geom_size.astype(np.float32).tobytes())
    return digest.hexdigest()


class BankDraw:
    """Draw which episodes start in a bank, and in which state, each from the episode's own seed.

    Args:
        bank: the states.
        share: chance that an episode starts in the bank.
        kinds: weight of each kind; those that the bank lacks leave theirs to the others.

    Raises:
        UserError: the share is no chance, a kind is unknown, or no state has a weight.
    """

    def __init__(self, bank: ResetBank, share: float, kinds: Mapping[str, float] | None = None) -> None:
        if not 0 <= share <= 1:
            raise UserError(f"bank_share={share}: must lie in 0..1")
        self.bank, self.share = bank, share
        weights = check_kinds(EQUAL_SHARES if kinds is None else kinds)
        counts = bank.counts
        used = torch.tensor([weights.get(kind, 0.0) * (counts[kind] > 0) for kind in KINDS]).double()
        if not used.sum() > 0:
            asked = [kind for kind, weight in weights.items() if weight > 0]
            raise UserError(f"the reset bank holds no state of {', '.join(asked)}; it holds {counts}")
        self._upto = torch.cumsum(used / used.sum(), 0)
        self._upto[used.nonzero().max() :] = 1.0  # rounding must not lead beyond the last kind in use
        number = torch.tensor([counts[kind] for kind in KINDS])
        self._count, self._first = number, torch.cumsum(number, 0) - number
        self._row = torch.from_numpy(np.argsort(bank.kind, kind="stable"))
        self.states = torch.from_numpy(bank.states)

    def to(self, device: torch.device) -> BankDraw:
        """Move the states and what draws them to an engine's device; return itself."""
        for name in ("_upto", "_count", "_first", "_row", "states"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def draw(self, seeds: Tensor) -> Tensor:
        """Return (n,) int64 rows of the bank for episodes of `seeds` (n,); -1 where the task starts one."""
        chance, kind, place = EpisodeRng(derive_seeds(seeds, BANK_STREAM)).uniform(3).double().unbind(-1)
        index = torch.bucketize(kind.contiguous(), self._upto, right=True)
        row = self._row[self._first[index] + (place * self._count[index]).long()]
        return torch.where(chance < self.share, row, -1)


def check_kinds(kinds: Mapping[str, float]) -> dict[str, float]:
    """Return weights by kind.

    Raises:
        UserError: a kind is unknown, a weight negative, or their sum zero or infinite.
    """
    for kind, weight in kinds.items():
        if kind not in KINDS:
            raise UserError(f"bank kind {kind!r}; valid: {', '.join(KINDS)}")
        if not 0 <= weight < math.inf:
            raise UserError(f"bank kind {kind}={weight}: needs a weight of at least 0")
    if not 0 < sum(kinds.values()) < math.inf:
        raise UserError("bank kinds: at least one needs a weight above 0, and their sum must be finite")
    return dict(kinds)
