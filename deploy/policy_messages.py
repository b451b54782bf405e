"""What a policy server and its client say to one another, in msgpack.

Bytes are decoded into nothing but the dataclasses below, and arrays into plain numbers of a few types.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from robofb.deploy.teleop.web_messages import BadMessageError
from robofb.errors import MOST, UserError
from robofb.types import ArraySpec, EnvSpec

VERSION = 1
MOST_GREETING = 4096  # bytes of what a stranger may say
MOST_REPLY = 2**20
MOST_SKIPPED = 1000
DTYPES = {"float32": "<f4", "float64": "<f8", "uint8": "|u1", "int64": "<i8"}  # little-endian on the wire
_MOST_AXES = 8
_MOST_ELEMENTS = 2**31

Message = TypeVar("Message")


@dataclass(frozen=True)
class Array:
    """An array as it travels.

    Attributes:
        dtype: one of `DTYPES`.
        shape: sizes of the axes.
        data: the elements in C order.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, values: np.ndarray) -> Array:
        """Return what carries an array of one of `DTYPES`."""
        name = values.dtype.name
        return cls(name, values.shape, values.astype(DTYPES[name], copy=False).tobytes())

    def values(self) -> np.ndarray:
        """Return the array, the reader's own.

        Raises:
            BadMessageError: type, shape and data do not go together.
        """
        if self.dtype not in DTYPES:
            raise BadMessageError(f"an array's dtype is none of {', '.join(DTYPES)}")
        if len(self.shape) > _MOST_AXES or any(size < 0 for size in self.shape):
            raise BadMessageError("an array's shape is none")
        if math.prod(max(1, size) for size in self.shape) > _MOST_ELEMENTS:  # numpy counts so, whatever is 0
            raise BadMessageError("an array's shape is too large")
        dtype = np.dtype(DTYPES[self.dtype])
        if math.prod(self.shape) * dtype.itemsize != len(self.data):
            raise BadMessageError("an array's data are not as long as its shape says")
        return np.frombuffer(self.data, dtype).reshape(self.shape).astype(self.dtype)


@dataclass(frozen=True)
class Greeting:
    """A client's first message.

    Attributes:
        version: of what is spoken.
        token: shows that it may be here.
        drives: it wants plans, not the spec alone.
        client: its own secret: whoever drives may come back with it over another connection.
    """

    version: int
    token: str
    drives: bool
    client: str


@dataclass(frozen=True)
class Welcome:
    """The answer to it.

    Attributes:
        refused: why the client may not stay; empty where it may.
        spec: of the policy, as `EnvSpec.to_dict` gives it.
        checkpoint: SHA-256 of the policy's file.
    """

    refused: str = ""
    spec: dict[str, Any] = field(default_factory=dict)
    checkpoint: str = ""


@dataclass(frozen=True)
class Question:
    """What was seen at a control step, and what happened before it.

    Attributes:
        number: of the question.
        seed: of the episode that begins here; None where it goes on.
        skipped: control steps that passed since the last question (or the beginning), unasked.
        obs: observations without batch axis, by key.
    """

    number: int
    seed: int | None
    skipped: int
    obs: dict[str, Array]

    def __post_init__(self) -> None:
        if self.seed is not None and not -MOST <= self.seed < MOST:
            raise ValueError("a seed does not fit into 64 bits")
        if not 0 <= self.skipped <= MOST_SKIPPED:
            raise ValueError(f"skipped: needs 0 to {MOST_SKIPPED}")


@dataclass(frozen=True)
class Answer:
    """A plan.

    Attributes:
        number: of the question.
        actions: (n, A); None where the question was refused.
        refused: why.
    """

    number: int
    actions: Array | None = None
    refused: str = ""


def check_packages() -> None:
    """Raise UserError where what speaks msgpack is missing."""
    try:
        import msgspec  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error.name} is missing: pip install 'robofb[deploy]'") from error


def encode(message: object) -> bytes:
    """Return a message's bytes."""
    import msgspec

    return msgspec.msgpack.encode(message)


def decode(kind: type[Message], data: bytes) -> Message:
    """Return the message of a kind that bytes hold.

    Raises:
        BadMessageError: they hold no such message.
    """
    import msgspec

    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessageError(f"no {kind.__name__}: {str(error)[:80]}") from error


def check_array(name: str, values: np.ndarray, spec: ArraySpec) -> np.ndarray:
    """Return an array that is as its spec says, all axes among it.

    Raises:
        BadMessageError: it is not.
    """
    if (values.dtype.name, values.shape) != (spec.dtype, spec.shape):
        raise BadMessageError(f"{name} must be {spec.dtype} of shape {list(spec.shape)}")
    return values


def most_bytes(spec: EnvSpec) -> int:
    """Return how long a question about a policy can be.

    Raises:
        UserError: its observations cannot travel.
    """
    for key, array in spec.obs.items():
        if array.dtype not in DTYPES:
            raise UserError(f"observation {key} is {array.dtype}: only {', '.join(DTYPES)} travel")
    sizes = (math.prod(array.shape) * np.dtype(array.dtype).itemsize for array in spec.obs.values())
    return sum(sizes) + MOST_GREETING
