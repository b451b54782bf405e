import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit.examples import make_dataset
from robofb.errors import UserError
from robofb.store.edit.numbers import format_numbers, parse_numbers


class Of(list):
    """A dataset of which only the number of episodes and the path matter."""

    path = "data/d"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("3,5-7", [3, 5, 6, 7]), ("0", [0]), (" 9 , 2-3 ", [2, 3, 9]), ("1-3,2-4,4", [1, 2, 3, 4])],
)
def test_numbers_and_ranges(text, numbers):
    assert parse_numbers(text, Of(range(10))) == numbers


@given(numbers=st.sets(st.integers(0, 60), min_size=1))
def test_what_is_written_is_read_again(numbers):
    assert parse_numbers(format_numbers(sorted(numbers)), Of(range(61))) == sorted(numbers)


def test_no_numbers():
    assert format_numbers([]) == "none"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a number"),
        ("1,,2", "'' is not a number"),
        ("-1", "'-1' is not a number"),
        ("1.5", "'1.5' is not a number"),
        ("all", "'all' is not a number"),
        ("²", "'²' is not a number"),
        ("7-5", "the range 7-5 runs backwards"),
        ("3-10", r"data/d has no episode 10; valid: 0\.\.9"),
        ("0-99999999999999999", "no episode 99999999999999999"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(UserError, match=message):
        parse_numbers(text, Of(range(10)))


def test_an_empty_dataset_has_no_valid_number(tmp_path):
    with pytest.raises(UserError, match="has no episode 0; it holds none"):
        parse_numbers("0", make_dataset(tmp_path / "d", []))
