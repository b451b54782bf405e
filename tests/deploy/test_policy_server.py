"""A server of plans: what it says, whom it refuses, and what it stands."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_server_peer import CHECKPOINT, TOKEN, line_peer

from robofb.config import compose
from robofb.deploy.listening import check_host
from robofb.deploy.live.fake import SPEC
from robofb.deploy.policy_messages import (
    DTYPES,
    MOST_GREETING,
    MOST_REPLY,
    VERSION,
    Answer,
    Array,
    Greeting,
    Question,
    Welcome,
    decode,
    encode,
    most_bytes,
)
from robofb.deploy.policy_server import ServerConfig, serve
from robofb.deploy.policy_wire import Wire, address_of, is_loopback, read_token, warn_of_readers
from robofb.deploy.teleop.web_messages import BadMessageError
from robofb.errors import UserError
from robofb.types import ArraySpec, EnvSpec

PATIENCE_S = 60.0
STATE = np.zeros(SPEC.obs["state"].shape, np.float32)
GREETING = Greeting(VERSION, TOKEN, True, "one")
QUESTION = Question(1, 7, 0, {"state": Array.of(STATE)})
MESSAGES = (GREETING, Welcome("", SPEC.to_dict(), CHECKPOINT), QUESTION, Answer(1, Array.of(STATE)))


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with line_peer(tmp_path_factory.mktemp("peer")) as peer:
        yield peer.listen()


def wire_to(port: int) -> Wire:
    return Wire(socket.create_connection(("127.0.0.1", port), PATIENCE_S))


def greet(wire: Wire, greeting: Greeting = GREETING) -> Welcome:
    wire.send(greeting, PATIENCE_S)
    return wire.receive(Welcome, MOST_REPLY, PATIENCE_S)


def driving(port: int, client: str = "one") -> Wire:
    """Return a wire that drives; the one who drove before may take a moment to be missed."""
    for _ in range(200):
        wire = wire_to(port)
        welcome = greet(wire, replace(GREETING, client=client))
        if not welcome.refused:
            return wire
        assert welcome.refused == "another client drives"
        wire.close()
        threading.Event().wait(0.05)
    raise AssertionError("the server never missed who drove before")


def ask(wire: Wire, question: Question) -> Answer:
    wire.send(question, PATIENCE_S)
    return wire.receive(Answer, MOST_REPLY, PATIENCE_S)


def test_an_array_is_its_bytes() -> None:
    """1.0 in float32 is 3f800000, its last byte first here."""
    assert Array.of(np.float32([[1.0]])) == Array("float32", (1, 1), b"\x00\x00\x80\x3f")
    nan = np.frombuffer(bytes.fromhex("0100c07f"), np.float32)  # a NaN with a payload
    for name in DTYPES:
        values = np.arange(6).reshape(2, 3).astype(name)
        again = decode(Array, encode(Array.of(values))).values()
        np.testing.assert_array_equal(again, values, strict=True)
        assert again.flags.writeable
    assert Array.of(nan).values().tobytes() == nan.tobytes()
    assert Array.of(np.zeros((0, 10))).values().shape == (0, 10)


@pytest.mark.parametrize(
    "array",
    [
        Array("object", (1,), b"01234567"),
        Array("float16", (4,), b"01234567"),
        Array("float32", (3,), b"01234567"),
        Array("float32", (-1, -2), b"01234567"),
        Array("uint8", (2**40, 2**40), b"0"),
        Array("uint8", (1,) * 9, b"0"),
        Array("uint8", (0, 2**63), b""),
        Array("float32", (0, 2**62), b""),
        Array("uint8", (0, *(2**30,) * 4), b""),
    ],
)
def test_an_array_that_is_none_is_refused(array: Array) -> None:
    with pytest.raises(BadMessageError):
        array.values()


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_come_back_as_they_were(message: Any) -> None:
    assert decode(type(message), encode(message)) == message
    for other in MESSAGES:
        if type(other) not in (type(message), Answer, Welcome):  # those two can be all but empty
            with pytest.raises(BadMessageError):
                decode(type(other), encode(message))


@given(st.binary(max_size=200), st.sampled_from(MESSAGES))
def test_garbage_is_a_bad_message(data: bytes, message: Any) -> None:
    check_decoding(type(message), data)


@given(st.data(), st.sampled_from(MESSAGES))
def test_a_message_with_wrong_bytes_is_bad_or_plain(data: st.DataObject, message: Any) -> None:
    wrong = bytearray(encode(message))
    for place in data.draw(st.lists(st.integers(0, len(wrong) - 1), min_size=1, max_size=4)):
        wrong[place] = data.draw(st.integers(0, 255))
    check_decoding(type(message), bytes(wrong[: data.draw(st.integers(1, len(wrong)))]))


def check_decoding(kind: type, data: bytes) -> None:
    """Decode to the kind or to a bad message; nothing else ever comes of bytes."""
    try:
        found = decode(kind, data)
        for array in found.obs.values() if kind is Question else ():
            array.values()
    except BadMessageError:
        return


def test_nesting_without_end_is_a_bad_message() -> None:
    spec = b"\x81\xa4spec\x81\xa1x" + b"\x91" * 100_000 + b"\xc0"
    with pytest.raises(BadMessageError):
        decode(Welcome, spec)


@pytest.mark.parametrize("changes", [{"seed": 2**63}, {"skipped": -1}, {"skipped": 1001}, {"seed": 0.5}])
def test_a_question_has_bounds(changes: dict[str, Any]) -> None:
    values = {"number": 1, "seed": None, "skipped": 0, "obs": {}} | changes
    with pytest.raises(BadMessageError):
        decode(Question, encode(values))


def test_a_message_that_comes_in_two_is_one() -> None:
    wire, there = connected()
    with closing(wire), there:
        data = framed(encode(GREETING))
        there.sendall(data[:2])
        later = threading.Timer(0.1, there.sendall, [data[2:]])
        later.start()
        assert wire.receive(Greeting, MOST_GREETING, PATIENCE_S, patient=True) == GREETING
        later.join()


def test_a_message_that_is_cut_off_or_stops_is_an_error() -> None:
    for ends, error in ((True, ConnectionError), (False, TimeoutError)):
        wire, there = connected()
        with closing(wire), there:
            there.sendall(framed(encode(GREETING))[:20])
            if ends:
                there.shutdown(socket.SHUT_WR)
            with pytest.raises(error):
                wire.receive(Greeting, MOST_GREETING, PATIENCE_S if ends else 0.05)


def test_a_message_that_is_too_long_is_not_read() -> None:
    wire, there = connected()
    with closing(wire), there:
        there.sendall((MOST_GREETING + 1).to_bytes(4, "big"))
        with pytest.raises(BadMessageError, match="a message of 4097 bytes, where 4096 are the most"):
            wire.receive(Greeting, MOST_GREETING, PATIENCE_S)


def test_nobody_who_reads_nothing_holds_the_sender() -> None:
    wire, there = connected()
    with closing(wire), there, pytest.raises(TimeoutError):
        wire.send(Answer(1, Array.of(np.zeros(2**22, np.uint8))), 0.2)


def test_the_spec_is_there_for_all_and_plans_for_one(port: int) -> None:
    with closing(driving(port)), closing(wire_to(port)) as looks, closing(wire_to(port)) as wants:
        welcome = greet(looks, replace(GREETING, drives=False, client="two"))
        assert EnvSpec.from_dict(welcome.spec) == SPEC and welcome.checkpoint == CHECKPOINT
        assert greet(wants, replace(GREETING, client="two")) == Welcome("another client drives")
    with closing(driving(port, "two")) as wire:  # the first one left
        assert ask(wire, QUESTION).number == 1


def test_who_drives_comes_back_over_another_connection(port: int) -> None:
    with closing(driving(port)) as before, closing(driving(port)) as wire:
        with pytest.raises(ConnectionError):
            before.receive(Answer, MOST_REPLY, PATIENCE_S)
        answer = ask(wire, QUESTION)
        assert answer.actions is not None and answer.actions.values().shape == (8, 10)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"token": "another word that nobody says"}, "wrong token"),
        ({"token": ""}, "wrong token"),
        ({"token": "\ud7ff\U0001f600"}, "wrong token"),
        ({"version": 2}, "the server speaks version 1, not 2"),
    ],
)
def test_who_has_no_business_is_told_so_and_nothing_else(
    port: int, changes: dict[str, Any], refused: str
) -> None:
    with closing(wire_to(port)) as wire:
        assert greet(wire, replace(GREETING, **changes)) == Welcome(refused)
        with pytest.raises(OSError):
            ask(wire, QUESTION)


@pytest.mark.parametrize(
    ("obs", "refused"),
    [
        ({"state": Array.of(STATE[1:])}, "state must be float32 of shape"),
        ({"state": Array.of(STATE[None])}, "state must be float32 of shape"),
        ({"state": Array.of(STATE.astype(np.float64))}, "state must be float32 of shape"),
        ({"state": Array("float32", STATE.shape, b"")}, "not as long as its shape says"),
        ({}, "observations must be state"),
        ({"state": Array.of(STATE), "more": Array.of(STATE)}, "observations must be state"),
    ],
)
def test_what_the_policy_does_not_see_is_refused(port: int, obs: dict[str, Array], refused: str) -> None:
    with closing(driving(port)) as wire:
        answer = ask(wire, replace(QUESTION, obs=obs))
        assert answer.actions is None and refused in answer.refused
        with pytest.raises(OSError):
            ask(wire, QUESTION)


def test_garbage_and_great_lengths_leave_the_server_well(port: int) -> None:
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x05hello", b"\xff" * 8, b"", b"\x16\x03\x01"):
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as stranger:
            stranger.sendall(data)
    with closing(driving(port)) as wire:
        too_long = {"state": Array("uint8", (most_bytes(SPEC),), bytes(most_bytes(SPEC)))}
        answer = ask(wire, replace(QUESTION, obs=too_long))
        assert answer.actions is None and "are the most" in answer.refused
    with closing(driving(port)) as wire:
        assert ask(wire, QUESTION).actions is not None


def test_who_speaks_no_tls_is_not_heard(tmp_path: Path) -> None:
    with line_peer(tmp_path, tmp_path / "tls") as peer:
        port = peer.listen()
        with closing(wire_to(port)) as wire, pytest.raises((OSError, BadMessageError)):
            greet(wire)
        context = ssl.create_default_context(cafile=tmp_path / "tls/server_cert.pem")
        connection = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        with closing(Wire(context.wrap_socket(connection, server_hostname="127.0.0.1"))) as wire:
            assert greet(wire).refused == ""


@pytest.mark.parametrize("tls", [False, True])
def test_who_says_nothing_takes_no_place_from_who_does(tmp_path: Path, tls: bool) -> None:
    """Of 40 who are silent the oldest must go; who drives stays, and others come in between."""
    with line_peer(tmp_path, tmp_path / "tls" if tls else None) as peer, ExitStack() as stack:
        port = peer.listen()
        context = ssl.create_default_context(cafile=tmp_path / "tls/server_cert.pem") if tls else None

        def joined() -> Wire:
            connection = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
            if context is not None:
                connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
            return stack.enter_context(closing(Wire(connection)))

        driver = joined()
        assert greet(driver).refused == ""
        silent = []
        for _ in range(2):
            for _ in range(20):
                silent.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S)))
            assert greet(joined(), replace(GREETING, drives=False)).refused == ""
        assert ask(driver, QUESTION).actions is not None
        assert silent[0].recv(1) == b""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["host=0.0.0.0"], "host=0.0.0.0: others can reach that, so say tls=FOLDER too"),
        (["host=robot.local", "token=x"], "say tls=FOLDER too"),
        (["port=65536"], "port=65536"),
        (["port=-1"], "port=-1"),
        (["threads=0"], "threads=0"),
        (["token=/nowhere/x"], "token=/nowhere/x: No such file"),
        (["token="], "token=: needs a file that holds the token"),
        (["token=/dev/zero"], "token=/dev/zero: needs 16 to 512 plain characters"),
        (["host="], "host=: needs a host's name or IP address"),
        (["host=http://robot", "tls=x"], "host=http://robot: needs a host's name or IP address"),
        (["host=192.0.2.1", "tls=x"], "host=192.0.2.1 port=0: Cannot assign requested address"),
        (["device=abacus"], "device=abacus"),
    ],
)
def test_bad_words_are_refused_in_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        serve(compose("deploy_server", ["run=x", *words]))
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())  # no certificate was made for a server that cannot be


@pytest.mark.parametrize("host", ["robot", "robot_2.local.", "127.0.0.1", "::1", "fe80::1%eth0", "0.0.0.0"])
def test_hosts_have_names_or_addresses(host: str) -> None:
    check_host("x", host)


@pytest.mark.parametrize(
    "host",
    ["", " ", ".", "a b", "a..b", "256.1.1.1", "10.0.1", "1.2.3.4.", "[::1]", "robot:80", "h\t", "ü" * 63],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(UserError, match="x=.*: needs a host's name or IP address"):
        check_host("x", host)


def test_only_the_own_machine_is_served_by_default() -> None:
    assert is_loopback(ServerConfig(run="x").host) and is_loopback("::1") and is_loopback("localhost")
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "robot", "127.0.0.1.example.com")))
    ServerConfig(run="x", host="0.0.0.0", tls="folder")


UNPLAIN = (b"01234567 89abcdef", b"01234567\t89abcdef", b"0123456789\nabcdef\n", b"01234567\x0089abcdef\x7f")


def test_a_token_that_others_can_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef")
    for mode, says in ((0o600, ""), (0o400, ""), (0o640, "chmod 600"), (0o604, "chmod 600")):
        file.chmod(mode)
        caplog.clear()
        warn_of_readers("token", file)
        assert says in caplog.text and bool(caplog.text) == bool(says)


def test_a_token_is_long_enough(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    assert read_token("token", file) == "0123456789abcdef"
    for content in (b"", b"0123456789abcde\n", b"a" * 513, "ä".encode() * 16, b"\xff" * 16, *UNPLAIN):
        file.write_bytes(content)
        with pytest.raises(UserError, match=f"token={file}"):
            read_token("token", file)


def test_addresses_have_a_host_and_a_port() -> None:
    assert address_of("x", "robot:8800") == ("robot", 8800)
    assert address_of("x", "[::1]:1") == ("::1", 1)
    for text in ("robot", "robot:", ":8800", "robot:0", "robot:65536", "::1:80", "a:b:1", "http://robot:80"):
        with pytest.raises(UserError, match="needs host:port"):
            address_of("x", text)
    for text in (" :80", "robot/a:80", "[robot one]:80", "192.168.1.256:80"):
        with pytest.raises(UserError, match=f"x={re.escape(text)}: needs host:port"):
            address_of("x", text)


def test_questions_are_as_long_as_what_is_seen() -> None:
    seen = {"image": ArraySpec((3, 240, 320), "uint8"), "state": ArraySpec((10,), "float32")}
    assert most_bytes(SPEC.with_obs(seen)) == 3 * 240 * 320 + 4 * 10 + MOST_GREETING
    with pytest.raises(UserError, match="observation x is float16"):
        most_bytes(SPEC.with_obs({"x": ArraySpec((1,), "float16")}))


def connected() -> tuple[Wire, socket.socket]:
    """Return both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = socket.create_connection(listening.getsockname())
        return Wire(listening.accept()[0]), there


def framed(data: bytes) -> bytes:
    """Return a message's bytes behind its length."""
    return len(data).to_bytes(4, "big") + data
