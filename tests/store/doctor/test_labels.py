import math

from robofb.store.doctor.labels import judge_lengths


def test_long_episodes_do_not_hide_a_less_long_one():
    """The bound is 2.26 times the median of 51.5; without the other three, 110 stands out."""
    lengths = [44, 45, 46, 48, 49, 50, 51, 52, 54, 55, 110, 130, 240, 300]
    assert 110 < 51.5 * 2.26 < 130
    assert [finding.episode for finding in judge_lengths(dict(enumerate(lengths)))] == [10, 11, 12, 13]


def test_lengths_within_the_factor_are_no_outliers():
    """All equal but two: the deviation is 0, so the factor of 1.5 from the median decides."""
    lengths = [40] * 8 + [60, 61]
    assert math.log(60 / 40) <= math.log(1.5) < math.log(61 / 40)
    assert [finding.episode for finding in judge_lengths(dict(enumerate(lengths)))] == [9]
