"""Curves as SVG, read back from the picture."""

import re
import xml.etree.ElementTree as ET

import numpy as np

from robofb.store.bottlenecks import Bottleneck
from robofb.viewer.timeline import BOTTOM, HEIGHT, LEFT, RIGHT, SOURCE_COLOURS, TOP, WIDTH, Timeline

VALUES = np.array([[0.0, 5.0], [10.0, 5.0], [5.0, 5.0]])
SOURCE = np.array([0, 4], np.uint8)
MARK = Bottleneck(1, "person", 'say "<b>"')


def picture(timeline, step=0):
    html = timeline.svg(step)
    return ET.fromstring(re.search(r"<svg.*</svg>", html)[0]), html


def test_curves_run_through_their_values():
    """Ten is the top, zero the bottom; step 0 stands left, step 2 right."""
    svg, _ = picture(Timeline(VALUES, ["a", "b"], SOURCE, []))
    first = svg.findall("polyline")[0].get("points").split()
    points = [tuple(map(float, point.split(","))) for point in first]
    middle = (LEFT + WIDTH - RIGHT) / 2
    assert points == [(LEFT, HEIGHT - BOTTOM), (middle, TOP), (WIDTH - RIGHT, (TOP + HEIGHT - BOTTOM) / 2)]


def test_the_band_has_a_box_for_every_run_of_a_source():
    source = np.array([0, 0, 4, 0], np.uint8)
    svg, _ = picture(Timeline(np.zeros((5, 1)), ["a"], source, []))
    boxes = [(rect.get("fill"), round(float(rect.get("width")))) for rect in svg.findall("rect")]
    quarter = (WIDTH - LEFT - RIGHT) / 4
    assert boxes == [
        (SOURCE_COLOURS[0], round(2 * quarter)),
        (SOURCE_COLOURS[4], round(quarter)),
        (SOURCE_COLOURS[0], round(quarter)),
    ]


def test_marks_and_names_from_a_dataset_are_escaped():
    svg, html = picture(Timeline(VALUES, ["<script>", "b"], SOURCE, [MARK]))
    assert "<script>" not in html and "<b>" not in html
    titles = [title.text for title in svg.iter("title")]
    assert '1 say "<b>"' in titles


def test_the_present_step_is_a_line_with_the_values_told():
    timeline = Timeline(VALUES, ["a", "b"], SOURCE, [])
    svg, html = picture(timeline, 2)
    now = next(line for line in svg.findall("line") if line.get("class") == "now")
    assert float(now.get("x1")) == timeline.x(2) == WIDTH - RIGHT
    assert "a 5" in html and "human" in html and "scripted" in html


def test_constant_values_and_missing_numbers_can_be_drawn():
    svg, _ = picture(Timeline(np.array([[2.0], [np.nan], [2.0]]), ["a"], SOURCE, []), 1)
    assert len(svg.find("polyline").get("points").split()) == 2
    picture(Timeline(np.full((2, 1), np.nan), ["a"], SOURCE[:1], []))


def test_the_curve_of_actions_ends_before_the_last_observation():
    """Two actions stand at steps 0 and 1 of an episode whose last step is 2."""
    timeline = Timeline(VALUES[:2], ["a", "b"], SOURCE, [])
    svg, html = picture(timeline, 2)
    last = svg.findall("polyline")[0].get("points").split()[-1]
    assert float(last.split(",")[0]) == round(timeline.x(1), 1)
    assert "a 10" in html  # the last action is told at the end


def test_a_long_curve_is_drawn_with_few_points_and_all_its_peaks():
    values = np.sin(np.arange(20_000) * 0.01)[:, None]
    values[12_345] = 7.0
    svg, _ = picture(Timeline(values, ["a"], np.zeros(19_999, np.uint8), []))
    points = [point.split(",") for point in svg.find("polyline").get("points").split()]
    assert len(points) <= 800 and min(float(y) for _, y in points) == TOP
