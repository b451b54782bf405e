"""Write report.html: one file with everything in it, from plain values."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from importlib import resources
from pathlib import Path

from robofb.charts import Bar, Line, bars, colour, line_chart
from robofb.errors import UserError
from robofb.files import write_atomically
from robofb.stats import SuccessRate, wilson_interval

_MEDIA_TYPES = {".mp4": "video/mp4", ".webm": "video/webm"}


@dataclass(frozen=True)
class PolicyResult:
    """How one policy did in its evaluation.

    Attributes:
        name: as the reader shall see it, such as "Diffusion policy".
        rate: successes of the strict test.
        failures: episodes that failed at each stage, in the order of the stages.
        loose_rate: successes of the paper's looser test, or None.
        video: an mp4 or webm of some of its episodes, or None.
        no_video: why there is none, where one was wanted.
        note: a few words such as the seed of the evaluation.
    """

    name: str
    rate: SuccessRate
    failures: Mapping[str, int] = field(default_factory=dict)
    loose_rate: SuccessRate | None = None
    video: Path | None = None
    no_video: str = ""
    note: str = ""


@dataclass(frozen=True)
class Curve:
    """Success during training.

    Attributes:
        name: such as "Residual, selection episodes".
        env_steps: control steps used so far, one per point.
        seconds: wall time so far [s], one per point.
        rates: success in [0, 1], one per point.
        episodes: episodes behind each point, for the band of intervals; None for no band.
    """

    name: str
    env_steps: Sequence[float]
    seconds: Sequence[float]
    rates: Sequence[float]
    episodes: int | None = None


@dataclass(frozen=True)
class ReportData:
    """Everything a report shows; whatever is empty is left out.

    Attributes:
        title: headline.
        lead: one or two sentences below it.
        policies: results in the order before, after.
        curves: learning curves.
        seconds: wall time of each stage of the pipeline [s].
        facts: short facts for the head, such as task, seed, machine.
        configs: text of each config, folded away.
        versions: versions and origin, folded away.
    """

    title: str
    lead: str = ""
    policies: Sequence[PolicyResult] = ()
    curves: Sequence[Curve] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    configs: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def write_report(path: str | Path, data: ReportData) -> Path:
    """Write the report as one HTML file and return its path.

    Raises:
        UserError: where it cannot be written; an older report is intact then.
    """
    path = Path(path)
    write_atomically(path, render(data))
    return path


def render(data: ReportData) -> str:
    """Return the report as HTML without any reference to other files."""
    body = [
        page_head(data.title, data.lead, data.facts),
        _success(data.policies),
        _curves(data),
        _failures(data.policies),
    ]
    body += [_videos(data.policies), _seconds(data.seconds), exactly(data.configs, data.versions)]
    return html_page(data.title, "".join(body))


def html_page(title: str, body: str) -> str:
    """Return a whole page around HTML, in the reader's light or dark theme, with nothing outside the file."""
    style = resources.files("robofb").joinpath("report.css").read_text()
    stamp = f"{datetime.now():%Y-%m-%d %H:%M}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>'
        f"<body><main>{body}<footer>Written by robofb on {stamp}.</footer></main></body></html>\n"
    )


def section(title: str, note: str, content: str) -> str:
    """Return a card of a page: headline, a soft line below it, and HTML."""
    line = f'<p class="soft">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{line}{content}</section>"


def html_table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table of texts."""
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def page_head(title: str, lead: str, facts: Mapping[str, str]) -> str:
    """Return the headline of a page, a sentence below it and short facts by name."""
    items = "".join(f"<span>{escape(name)} <b>{escape(value)}</b></span>" for name, value in facts.items())
    line = f"<p>{escape(lead)}</p>" if lead else ""
    return f'<header><h1>{escape(title)}</h1>{line}<div class="facts">{items}</div></header>'


def _success(policies: Sequence[PolicyResult]) -> str:
    if not policies:
        return ""
    figures: list[str] = []
    rows: list[Bar | str] = []
    for index, policy in enumerate(policies):
        rate = policy.rate
        details = f"{rate.successes} of {rate.episodes} episodes"
        details += f" · {policy.note}" if policy.note else ""
        figures.append(
            f'<div class="figure"><span><i class="swatch" style="background:{colour(index)}"></i>'
            f"{escape(policy.name)}</span><b>{_rate(rate)}</b><span>{escape(details)}</span></div>"
        )
        rows.append(_rate_bar(policy.name, rate, index))
    loose = [
        _rate_bar(policy.name, policy.loose_rate, index)
        for index, policy in enumerate(policies)
        if policy.loose_rate is not None
    ]
    if loose:
        rows = ["Strict test", *rows, "The paper's looser test", *loose]
    note = "Whiskers are Wilson 95 % intervals."
    content = f'<div class="figures">{"".join(figures)}</div>{_verdict(policies)}{bars(rows)}'
    return section("Success", note, content)


def _rate(rate: SuccessRate) -> str:
    return f"{100 * rate.rate:.1f} %" if rate.episodes else "no episodes"


def _rate_bar(name: str, rate: SuccessRate, index: int) -> Bar:
    share = rate.rate if rate.episodes else 0.0
    value = f"{_rate(rate)}  [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
    return Bar(name, share, value, index, rate.low, rate.high)


def _verdict(policies: Sequence[PolicyResult]) -> str:
    """Say whether the intervals of the first and the last policy are apart."""
    if len(policies) < 2:
        return ""
    before, after = policies[0].rate, policies[-1].rate
    if not (before.episodes and after.episodes):
        return ""
    points = f"{100 * (after.rate - before.rate):+.1f} points"
    if before.high < after.low or after.high < before.low:
        return f'<p class="verdict apart">{points}; the intervals do not overlap.</p>'
    return f'<p class="verdict">{points}; the intervals overlap: more episodes would tell them apart.</p>'


def _curves(data: ReportData) -> str:
    curves = [curve for curve in data.curves if len(curve.rates)]
    if not curves:
        return ""
    base = data.policies[0] if len(data.policies) > 1 and data.policies[0].rate.episodes else None
    reference = (base.name, base.rate.rate) if base else None
    steps = line_chart([_line(curve, curve.env_steps) for curve in curves], "environment steps", reference)
    time = line_chart(
        [_line(curve, curve.seconds) for curve in curves], "wall time of training [s]", reference
    )
    return (
        f'<div class="columns">{section("Learning, by experience", "", steps)}'
        f"{section('Learning, by time', '', time)}</div>"
    )


def _line(curve: Curve, x: Sequence[float]) -> Line:
    if curve.episodes is None:
        return Line(curve.name, x, curve.rates)
    ends = [wilson_interval(round(rate * curve.episodes), curve.episodes) for rate in curve.rates]
    return Line(curve.name, x, curve.rates, [low for low, _ in ends], [high for _, high in ends])


def _failures(policies: Sequence[PolicyResult]) -> str:
    stages = list(dict.fromkeys(stage for policy in policies for stage in policy.failures))
    if not stages:
        return ""
    counts = {(policy.name, stage): policy.failures.get(stage, 0) for policy in policies for stage in stages}
    shares = {
        (policy.name, stage): counts[policy.name, stage] / max(1, policy.rate.episodes)
        for policy in policies
        for stage in stages
    }
    rows: list[Bar | str] = []
    for stage in stages:
        rows.append(stage)
        for index, policy in enumerate(policies):
            share = shares[policy.name, stage]
            value = f"{counts[policy.name, stage]} of {policy.rate.episodes}, {100 * share:.1f} %"
            rows.append(Bar(policy.name, share, value, index))
    return section("Where episodes fail", "The first stage that a failed episode did not reach.", bars(rows))


def _videos(policies: Sequence[PolicyResult]) -> str:
    figures = []
    for index, policy in enumerate(policies):
        if policy.video is not None:
            film = film_element(policy.video)
        elif policy.no_video:
            film = f'<p class="soft">No video: {escape(policy.no_video)}</p>'
        else:
            continue
        swatch = f'<i class="swatch" style="background:{colour(index)}"></i>'
        figures.append(f"<figure><figcaption>{swatch}{escape(policy.name)}</figcaption>{film}</figure>")
    if not figures:
        return ""
    return section("Rollouts", "", f'<div class="columns">{"".join(figures)}</div>')


def film_element(video: Path) -> str:
    """Return a player with a film in it."""
    return f'<video controls autoplay loop muted playsinline src="{_data_uri(video)}"></video>'


def _data_uri(video: Path) -> str:
    try:
        content = Path(video).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the video {video}: {error.strerror or error}") from error
    media_type = _MEDIA_TYPES[Path(video).suffix]
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _seconds(seconds: Mapping[str, float]) -> str:
    if not seconds:
        return ""
    stages = {name: value for name, value in seconds.items() if name != "total"}
    total = seconds.get("total", sum(stages.values()))
    widest = max([*stages.values(), 1e-9])
    rows = [Bar(name, value / widest, _duration(value)) for name, value in stages.items()]
    return section("Time", f"{_duration(total)} in all.", bars(rows))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def exactly(configs: Mapping[str, str], versions: Mapping[str, str]) -> str:
    """Return what was run and where, folded away."""
    folds = [
        f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"
        for name, text in configs.items()
    ]
    if versions:
        table = html_table([(name, str(value)) for name, value in versions.items()])
        folds.append(f"<details><summary>Versions and machine</summary>{table}</details>")
    return section("Exactly what was run", "", "".join(folds)) if folds else ""
