"""Read pickles from strangers: numbers, text, containers and numpy arrays, and nothing that runs.

No class or function that a pickle names is ever looked up. The few names that plain data needs are
answered by stand-ins of our own, numpy's included: numpy's real constructors trust the flags and
shapes in a pickle, and a false one makes them read foreign memory.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from typing import IO, Any

import numpy as np

MAX_BYTES = 8_000_000_000  # after decompression; half an hour of two 320 x 240 cameras at 10 Hz
MAX_DEPTH = 64


class RefusedPickleError(ValueError):
    """Say what a pickle holds that is not read."""


class _DType:
    """Stand in for numpy.dtype: booleans, integers, floats and fixed-length text."""

    __slots__ = ("value",)

    def __init__(self, name: Any, align: Any = False, copy: Any = False) -> None:
        if not isinstance(name, str) or not re.fullmatch(r"[<>=|]?([biuf][1248]|\?|[SU]\d{1,6})", name):
            raise RefusedPickleError(
                f"an array of type {str(name)[:40]!r}: only plain numbers and text are read"
            )
        self.value = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "=", "|"):
            raise RefusedPickleError("a numpy type with an unknown byte order")
        if order in "<>":
            self.value = self.value.newbyteorder(order)


class _Array:
    """Stand in for numpy.ndarray while a pickle fills it."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedPickleError("an array without the five parts of its state")
        _, shape, dtype, fortran, data = state
        self.value = _array(data, dtype, shape, "F" if fortran else "C")


class _Call:
    """A function that a pickle may call but not change."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise RefusedPickleError(f"an attempt to set '{name[:40]}'")

    def __setstate__(self, state: Any) -> None:
        raise RefusedPickleError("an attempt to change a function")


def load_plain(file: IO[bytes], max_bytes: int = MAX_BYTES) -> Any:
    """Return the plain data in a pickle: dicts, lists, tuples, sets, text, numbers, numpy arrays.

    Args:
        file: open for reading, already decompressed.
        max_bytes: most bytes that are read.

    Raises:
        RefusedPickleError: names what is not plain data, or more than `max_bytes`.
        pickle.UnpicklingError, EOFError, ...: the pickle is damaged.
    """
    return _resolve(_PlainUnpickler(_Limited(file, max_bytes)).load(), {}, 0)


class _Limited:
    """Read at most so many bytes."""

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self._file, self._left, self._max = file, max_bytes, max_bytes

    def _spend(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise RefusedPickleError(f"more than {self._max} bytes")
        return data

    def read(self, size: int) -> bytes:
        return self._spend(self._file.read(min(size, self._left + 1)))

    def readline(self) -> bytes:
        return self._spend(self._file.readline(self._left + 1))


class _PlainUnpickler(pickle.Unpickler):
    """Answer the few names of plain data by stand-ins and refuse all others."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy._core", "numpy.core")
        stand_in = _STAND_INS.get((module, name))
        if stand_in is None:
            hint = "; torch tensors must become numpy arrays first" if module.startswith("torch") else ""
            raise RefusedPickleError(f"it names {module}.{name}, which is not plain data{hint}")
        return stand_in

    def persistent_load(self, pid: Any) -> Any:
        raise RefusedPickleError("it refers to data outside the file")


def _array(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """Return a new array after checking that the bytes are as many as the shape says."""
    if not isinstance(dtype, _DType) or not isinstance(data, bytes | bytearray):
        raise RefusedPickleError("an array of objects: only plain numbers and text are read")
    if isinstance(shape, int):
        shape = (shape,)
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise RefusedPickleError("an array with a shape that is none")
    if len(shape) > 32 or math.prod(shape) * dtype.value.itemsize != len(data):
        raise RefusedPickleError(f"an array of shape {str(shape)[:60]} with {len(data)} bytes")
    flat = np.frombuffer(bytes(data), dtype.value) if data else np.empty(0, dtype.value)
    native = flat.astype(dtype.value.newbyteorder("="), copy=False)  # as numpy reads it too
    return native.reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not _Array:
        raise RefusedPickleError("an array of another class than numpy.ndarray")
    return _Array()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    return _array(data, dtype, shape, order)


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if isinstance(data, str):
        data = data.encode("latin-1")
    return _array(data, dtype, (), "C")[()]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedPickleError(f"text in encoding {str(encoding)[:20]!r}")
    return text.encode("latin-1")


def _bytearray(data: Any = b"", encoding: Any = "latin1") -> bytearray:
    return bytearray(_encode(data, encoding) if isinstance(data, str) else _checked(data, bytes))


def _bytes(data: Any = b"") -> bytes:
    return _checked(data, bytes)


def _container(kind: Callable[[Any], Any]) -> _Call:
    return _Call(lambda items=(): kind(_checked(items, list | tuple)))


def _checked(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise RefusedPickleError(f"a {type(value).__name__} where plain data has none")
    return value


def _path(*parts: Any) -> str:
    return "/".join(_checked(part, str) for part in parts)


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Call(_reconstruct),
    ("numpy.core.multiarray", "scalar"): _Call(_scalar),
    ("numpy.core.numeric", "_frombuffer"): _Call(_from_buffer),
    ("_codecs", "encode"): _Call(_encode),
    ("collections", "OrderedDict"): _container(dict),
    ("pathlib", "PosixPath"): _Call(_path),
    ("pathlib", "PurePosixPath"): _Call(_path),
    **{
        (module, kind.__name__): _container(kind)
        for module in ("builtins", "__builtin__")
        for kind in (set, frozenset, list, tuple, dict)
    },
    **{(module, "bytearray"): _Call(_bytearray) for module in ("builtins", "__builtin__")},
    **{(module, "bytes"): _Call(_bytes) for module in ("builtins", "__builtin__")},
}
_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray, np.ndarray, np.generic)


def _resolve(value: Any, done: dict[int, Any], depth: int) -> Any:
    """Return a value with every stand-in replaced; each shared container is visited once."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, _Array):
        if value.value is None:
            raise RefusedPickleError("an array without content")
        return value.value
    if id(value) in done:
        if done[id(value)] is _OPEN:
            raise RefusedPickleError("a container that holds itself")
        return done[id(value)]
    if depth > MAX_DEPTH:
        raise RefusedPickleError(f"containers nested deeper than {MAX_DEPTH}")
    done[id(value)] = _OPEN
    done[id(value)] = result = _resolve_container(value, done, depth + 1)
    return result


_OPEN = object()


def _resolve_container(value: Any, done: dict[int, Any], depth: int) -> Any:
    if isinstance(value, dict):
        return {_checked(key, str | int | float): _resolve(item, done, depth) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_resolve(item, done, depth) for item in value)
    if isinstance(value, _DType):
        return str(value.value)
    raise RefusedPickleError("a function where data should be")
