import collections
import io
import os
import pathlib
import pickle
import pickletools

import numpy as np
import pytest

from robofb.store import unpickle
from robofb.store.unpickle import RefusedPickleError, load_plain


def load(data, **limits):
    return load_plain(io.BytesIO(data), **limits)


PLAIN = {
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big endian": np.arange(3, dtype=">i4"),
    "bool": np.array([True, False]),
    "text": np.array(["ab", "c"]),
    "image": np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
    "empty": np.empty((0, 7), np.float32),
    "scalar": np.float32(1.5),
    "true": np.bool_(True),
    "list": [1, 2.5, None, "é", b"\xff", (True, {3, 4})],
    "ordered": collections.OrderedDict([("a", 1), ("b", [2])]),
    "big": bytearray(b"abc"),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_reads_as_pickle_reads_it(protocol):
    data = pickle.dumps(PLAIN, protocol=protocol)
    expected, found = pickle.loads(data), load(data)
    assert list(found) == list(expected)
    for key, value in expected.items():
        if isinstance(value, np.ndarray | np.generic):
            assert found[key].dtype == value.dtype.newbyteorder("=")
            np.testing.assert_array_equal(found[key], value)
        else:
            assert found[key] == value
    assert type(found["ordered"]) is dict


def test_names_of_numpy_1_are_read():
    data = pickle.dumps(np.arange(3.0), protocol=2)
    old = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != data
    np.testing.assert_array_equal(load(old), np.arange(3.0))


def test_paths_become_text():
    assert load(pickle.dumps(pathlib.PurePosixPath("a/b.pkl"))) == "a/b.pkl"


def test_shared_data_stays_shared_and_is_visited_once():
    layer = ["x"]
    for _ in range(60):
        layer = [layer, layer]  # 2^60 paths
    found = load(pickle.dumps(layer))
    assert found[0] is found[1]


class Reduced:
    """Pickle as a call of any function."""

    def __init__(self, function, *arguments):
        self.how = (function, arguments)

    def __reduce__(self):
        return self.how


def called(module, name, *arguments):
    """Return a pickle that calls module.name, whether or not it can be imported here."""
    inner = b"".join(pickle.dumps(argument, 2)[2:-1] for argument in arguments)
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(" + inner + b"tR."


def built(module, name, state):
    """Return a pickle that hands a state to what a name stands for."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + pickle.dumps(state, 2)[2:-1] + b"b."


TOUCH = "touch {}/owned"


def hostile(folder):
    command = TOUCH.format(folder)
    array = pickle.dumps(np.arange(3.0), 2)
    nested = pickle.dumps({"observations": [Reduced(os.system, command)], "actions": []})
    return {
        "system": (pickle.dumps(Reduced(os.system, command)), "posix.system"),
        "nested": (nested, "posix.system"),
        "eval": (called("builtins", "eval", f"__import__('os').system('{command}')"), "builtins.eval"),
        "eval 2": (
            called("__builtin__", "eval", f"__import__('os').system('{command}')"),
            "__builtin__.eval",
        ),
        "getattr": (called("builtins", "getattr", 1, "real"), "builtins.getattr"),
        "runstring": (called("numpy.testing._private.utils", "runstring", "1", {}), "numpy.testing"),
        "load": (called("numpy", "load", "/etc/passwd"), "numpy.load"),
        "loads": (called("pickle", "loads", pickle.dumps(Reduced(os.system, command))), "pickle.loads"),
        "dotted": (b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", "ndarray.tofile"),
        "torch": (called("torch._utils", "_rebuild_tensor_v2"), "torch tensors must become numpy arrays"),
        "memmap": (called("numpy", "memmap", f"{folder}/owned"), "numpy.memmap"),
        "objects": (pickle.dumps(np.array([{}, None], dtype=object)), "plain numbers"),
        "void": (pickle.dumps(np.zeros(2, [("a", "O"), ("b", "f4")])), "plain numbers"),
        "flags": (built("numpy", "dtype", (3, "|", None, None, None, -1, -1, 63)), ""),
        "subtype": (called("numpy.core.multiarray", "_reconstruct", 3, (0,), b"b"), "another class"),
        "shape": (array.replace(b"K\x03\x85", b"K\x7f\x85"), "shape"),
        "negative": (array.replace(b"K\x03\x85", b"J\xff\xff\xff\xff\x85"), "shape"),
        "function": (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n.", "function"),
        "change": (built("numpy.core.multiarray", "_reconstruct", (None, {"__defaults__": (1,)})), "change"),
        "memo": (b"\x80\x02]q\x00h\x00a.", "holds itself"),
        "deep": (b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".", "deeper"),
        "memory": (called("builtins", "bytearray", 10**12), "plain data"),
        "codec": (called("_codecs", "encode", "a", "rot13"), "encoding"),
        "persistent": (b"\x80\x02Pid\n.", "outside"),
        "instance": (b"(S'" + command.encode() + b"'\nios\nsystem\n.", "os.system"),
        "extension": (b"\x80\x02\x82\x01.", ""),
    }


@pytest.mark.parametrize("kind", sorted(hostile(".")))
def test_hostile_pickles_are_refused_and_run_nothing(kind, tmp_path):
    data, words = hostile(tmp_path)[kind]
    with pytest.raises((RefusedPickleError, pickle.UnpicklingError, ValueError, TypeError)) as refused:
        load(data)
    assert words in str(refused.value)
    assert not (tmp_path / "owned").exists()
    if words:
        assert isinstance(refused.value, RefusedPickleError)


def test_the_worst_of_them_do_run_in_plain_pickle(tmp_path):
    """The cases above are sharp: pickle itself obeys."""
    pickle.loads(hostile(tmp_path)["nested"][0])
    assert (tmp_path / "owned").exists()


def test_a_stand_in_is_the_same_after_an_attempt_to_change_it():
    before = dict(unpickle._STAND_INS)
    with pytest.raises((RefusedPickleError, TypeError, AttributeError)):
        load(built("numpy", "dtype", (None, {"value": 1})))
    assert before == unpickle._STAND_INS
    np.testing.assert_array_equal(load(pickle.dumps(np.arange(2))), [0, 1])


def test_more_bytes_than_allowed_are_not_read():
    data = pickle.dumps(np.zeros(1000))
    load(data, max_bytes=len(data))
    with pytest.raises(RefusedPickleError, match=f"more than {len(data) - 1} bytes"):
        load(data, max_bytes=len(data) - 1)


def test_every_cut_of_a_sound_pickle_is_an_error():
    data = pickle.dumps(PLAIN)
    for length in range(0, len(data), 7):
        with pytest.raises(
            (ValueError, TypeError, EOFError, LookupError, pickle.UnpicklingError, AttributeError)
        ):
            load(data[:length])


def test_no_changed_byte_names_a_class_that_is_not_ours():
    """Every name that any mutation reaches is one of the stand-ins, or it is refused."""
    data = pickle.dumps({"a": np.arange(4.0), "b": np.float32(1)}, protocol=2)
    rng = np.random.default_rng(0)
    allowed = (ValueError, TypeError, EOFError, LookupError, AttributeError, OverflowError, MemoryError)
    read = 0
    for _ in range(3000):
        changed = bytearray(data)
        changed[int(rng.integers(len(data)))] = int(rng.integers(256))
        try:
            found = load(bytes(changed))
        except (*allowed, pickle.UnpicklingError):
            continue
        read += 1
        values = found.values() if isinstance(found, dict) else [found]
        assert all(
            isinstance(value, unpickle._PLAIN + (list, tuple, dict, set, frozenset)) for value in values
        )
    assert read > 100
    assert pickletools.genops(data)
