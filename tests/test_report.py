import base64
import re
from html.parser import HTMLParser

import pytest

from robofb.charts import Bar, bars, short_number, ticks
from robofb.errors import UserError
from robofb.report import Curve, PolicyResult, ReportData, render, write_report
from robofb.stats import SuccessRate

VOID = {"meta", "br", "img"}


class Page(HTMLParser):
    """Collect texts and references; fail on tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.references: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.references += [value for key, value in attrs if key in ("src", "href", "poster", "data")]

    def handle_startendtag(self, tag, attrs):
        self.references += [value for key, value in attrs if key in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


@pytest.fixture
def data(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"\x00\x01movie")
    before = PolicyResult(
        "Diffusion policy", SuccessRate(159, 256), {"grasp": 4, "insertion": 93}, SuccessRate(171, 256), video
    )
    after = PolicyResult("With residual", SuccessRate(249, 256), {"grasp": 1, "insertion": 6})
    return ReportData(
        title="one_leg <insert>",
        lead="A lead.",
        policies=[before, after],
        curves=[Curve("Residual", [0, 5000, 10000], [0, 60, 120], [0.6, 0.8, 0.95], episodes=64)],
        seconds={"demonstrations": 15.25, "residual": 330.0, "total": 345.25},
        facts={"seed": "7"},
        configs={"config.yaml": "seed: 7\nname: <b>\n"},
        versions={"torch": "2.13.0"},
    )


def test_page_is_sound_and_refers_to_nothing_outside(data):
    html = render(data)
    page = Page(html)
    assert page.references == ["data:video/mp4;base64," + base64.b64encode(b"\x00\x01movie").decode()]
    assert re.findall(r"https?://|url\(|@import|<script|<link", html) == []


def test_numbers_stand_in_the_page(data):
    text = Page(render(data)).text
    assert "62.1 %" in text
    assert "159 of 256 episodes" in text
    assert "97.3 %" in text
    assert "62.1 %  [56.0, 67.8]" in text  # Wilson: centre 0.6193, half width 0.0591
    assert "+35.2 points; the intervals do not overlap." in text
    assert "93 of 256, 36.3 %" in text  # 93 / 256
    assert "15.2 s" in text
    assert "5 min 30 s" in text
    assert "5 min 45 s in all." in text
    assert "<insert>" in text  # escaped, not a tag
    assert "name: <b>" in text


def test_overlapping_intervals_are_called_so(data):
    close = [PolicyResult("A", SuccessRate(5, 10)), PolicyResult("B", SuccessRate(6, 10))]
    assert "the intervals overlap" in render(ReportData("t", policies=close))


def test_line_stands_where_its_numbers_say(data):
    html = render(data)
    points = re.search(r'<polyline points="([^"]+)"', html).group(1)
    # x: 44 + step / 10000 * 402; y: 10 + (1 - rate) * 210
    assert points == "44.0,94.0 245.0,52.0 446.0,20.5"


def test_empty_report_is_only_a_title():
    page = Page(render(ReportData("Nothing yet")))
    assert "Nothing yet" in page.text
    assert "Success" not in page.text


def test_evaluation_without_episodes_does_not_divide_by_zero():
    assert (
        "no episodes" in Page(render(ReportData("t", policies=[PolicyResult("A", SuccessRate(0, 0))]))).text
    )


def test_says_why_a_video_is_missing():
    blind = PolicyResult("A", SuccessRate(1, 2), no_video="cannot render: no <GPU>")
    assert "No video: cannot render: no <GPU>" in Page(render(ReportData("t", policies=[blind]))).text


def test_missing_video_is_one_line(tmp_path):
    lost = PolicyResult("A", SuccessRate(1, 2), video=tmp_path / "lost.mp4")
    with pytest.raises(UserError, match=r"cannot read the video .*lost.mp4: No such file"):
        write_report(tmp_path / "report.html", ReportData("t", policies=[lost]))
    assert not (tmp_path / "report.html").exists()


def test_write_report_returns_the_path(tmp_path, data):
    path = write_report(tmp_path / "report.html", data)
    assert path.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("largest", "expected"),
    [(100, [0, 20, 40, 60, 80, 100]), (9e5, [0, 2e5, 4e5, 6e5, 8e5]), (0.7, [0, 0.2, 0.4, 0.6]), (0, [0])],
)
def test_ticks_are_round(largest, expected):
    assert ticks(largest) == pytest.approx(expected)


def test_short_numbers():
    assert [short_number(value) for value in (0, 40, 250_000, 1.5e6)] == ["0", "40", "250k", "1.5M"]


def test_bar_widths_are_percent_and_stay_in_the_track():
    html = bars([Bar("a", 0.25, "25", low=0.2, high=0.5), Bar("b", 1.7, "x")])
    assert 'style="width:25.00%' in html
    assert 'style="left:20.00%;width:30.00%"' in html
    assert 'style="width:100.00%' in html
