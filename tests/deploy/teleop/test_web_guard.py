"""Whose requests are ours."""

import pytest

from robofb.deploy.teleop.web_guard import is_own_host, is_own_origin, is_same_token, own_names


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8700", "localhost:1", "LOCALHOST", "[::1]:80", "192.168.1.5:8700"]
)
def test_own_names_and_addresses_are_ours(host):
    assert is_own_host(host, own_names("127.0.0.1"))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8700",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "a b",
        "[x]:1",
    ],
)
def test_other_names_are_not(host):
    assert not is_own_host(host, own_names("127.0.0.1"))


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:8700", True),
        ("https://127.0.0.1:8700", True),
        ("http://127.0.0.1:8701", False),
        ("http://evil.example", False),
        ("http://127.0.0.1:8700.evil.example", False),
        ("null", False),
        ("http://[", False),
        (None, False),
    ],
)
def test_only_pages_of_this_server_may_connect(origin, expected):
    assert is_own_origin(origin, "127.0.0.1:8700") is expected


def test_tokens_compare():
    assert is_same_token("abc", "abc")
    assert (
        not is_same_token("abd", "abc")
        and not is_same_token("", "abc")
        and not is_same_token("ä\udcff", "abc")
    )
