"""The tables of README and docs say what benchmarks/results holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from robofb.stats import SuccessRate

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import vision
from cells import percent, pooled
from experts import LEVELS as LEVELS_OF_TASKS
from resip import BUDGETS, LEVELS, TITLES
from resip_figures import levels_table, table

ROOT = Path(__file__).resolve().parents[1]


def saved(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks/results" / f"{name}.json").read_text())
    return found


def lines(name: str) -> list[str]:
    return (ROOT / name).read_text().splitlines()


def rate(figures: dict[str, Any]) -> str:
    return percent(SuccessRate(figures["successes"], figures["episodes"]))


@pytest.mark.parametrize("made", [table, lambda cells, titles: levels_table(cells, titles, LEVELS)])
def test_the_papers_table(made: Any) -> None:
    wanted = made(saved("resip")["cells"], TITLES).splitlines()
    assert len(wanted) > 5 and [line for line in wanted if line not in lines("docs/reproduce.md")] == []


def test_readmes_share_of_it() -> None:
    rates = pooled(saved("resip")["cells"], ("task", "randomness", "demos", "method"))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines("README.md")]
    told = [row for row in rows if len(row) == 5 and row[1] in ("low", "med")]
    assert len(told) == 4
    for task, randomness, _, base, residual in told:
        key = task.strip("`"), randomness, 50
        assert base == percent(rates[(*key, "bc")]) and residual == percent(rates[(*key, "resip")])
    key = "one_leg", "low", 50
    base, residual = percent(rates[(*key, "bc")]), percent(rates[(*key, "resip")])
    assert f"`one_leg`, with its screw, went from {base} to {residual} %" in " ".join(lines("README.md"))


def test_the_vision_students() -> None:
    wanted = vision.table(saved("vision")["cells"]).splitlines()
    assert len(wanted) > 5 and [line for line in wanted if line not in lines("docs/vision.md")] == []
    figures = {(cell["student"], cell["looks"]): rate(cell) for cell in saved("vision")["cells"]}
    told = " ".join(lines("README.md"))
    assert f"comes to {figures['plain', 'own']} %" in told and f"has {figures['teacher', 'own']}," in told


def test_what_a_bank_was_worth() -> None:
    rates = pooled(saved("reset_bank")["cells"], ("bc_steps", "env_steps", "method"))
    assert len(rates) == 9
    for steps, budget in {key[:2] for key in rates}:
        row = " | ".join(percent(rates[steps, budget, method]) for method in ("base", "without", "with"))
        found = [line for line in lines("docs/reset_banks.md") if line.endswith(f"| {row} |")]
        assert any(line.startswith(f"| {steps} steps | {budget:,} |") for line in found), row


def test_the_quickstarts_table() -> None:
    for seed in saved("quickstart")["seeds"]:
        row = f"| {seed['seed']} | {rate(seed['bc'])} | {rate(seed['residual'])} | "
        assert any(line.startswith(row) for line in lines("README.md")), row


def test_the_scripted_experts() -> None:
    rates = {
        (row["task"], row["randomness"]): rate(row)
        for row in saved("experts")["experts"]
        if row["noise"] == 1
    }
    told = {}
    for line in lines("docs/tasks.md"):
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 6 and "[" in cells[1]:
            keys = [(cells[0].strip("`"), level) for level in LEVELS_OF_TASKS]
            told |= {key: cell for key, cell in zip(keys, cells[1:4], strict=True) if cell}
    assert told == rates and {task for task, _ in told} == set(BUDGETS)


def test_every_expert_reaches_its_goal() -> None:
    """90 % of 256 episodes at low randomness and low noise."""
    rows = [
        row
        for row in saved("experts")["experts"]
        if row["randomness"] == "low" and row["noise"] <= 1 and row["episodes"] >= 256
    ]
    good = {row["task"] for row in rows if row["successes"] >= 0.9 * row["episodes"]}
    assert good == {row["task"] for row in rows} == set(BUDGETS)


def test_success_on_both_engines() -> None:
    told = [line for line in lines("docs/engines.md") if line.startswith("| `")]
    for row in saved("engines")["tasks"]:
        assert row["intervals_overlap"]
        counts = [row["engines"][name] for name in ("mujoco", "warp")]
        cells = [
            f"{each['successes']} [{100 * each['low']:.1f}, {100 * each['high']:.1f}]" for each in counts
        ]
        end = f"| {' | '.join([*cells, str(row['same_outcome'])])} |"
        assert any(line.startswith(f"| `{row['task']}`") and line.endswith(end) for line in told), end


def test_times_of_chunks() -> None:
    chunks = saved("policy")["chunks"]
    rows = {
        "one chunk, quickstart's policy": (("mlp_ddim4_batch1", "ratio"), ("mlp_ddim16_batch1", "ratio")),
        "one chunk, the paper's UNet": (("unet_ddim4_batch1", "ratio"), ("unet_ddim16_batch1", "ratio")),
        "1,024 chunks": (("mlp_ddim4_batch1024", "ratio"), ("mlp_ddim4_batch1024", "ratio_bfloat16")),
    }
    for start, cells in rows.items():
        ratios = [f"{chunks[chunk][ratio]:.2f}" for chunk, ratio in cells]
        told = next(line for line in lines("README.md") if line.startswith(f"| {start}"))
        assert told.split("|")[3].replace(";", ",").strip() == ", ".join(ratios)


def test_times_of_steps_and_iterations() -> None:
    told = (ROOT / "docs/engines.md").read_text()
    for row in saved("sim_scaling")["rows"]:
        speeds = ", ".join(f"{worlds['steps_per_s']:,.0f}" for worlds in row["worlds"].values())
        assert f"| {speeds} (physics" in told
    for row in saved("iteration")["rows"]:
        seconds = row["seconds_by_part"]
        parts = ", ".join(f"{seconds[part]:.1f}" for part in ("physics", "base_policy", "ppo_update"))
        envs = f"{row['num_envs']:,} envs x {row['steps']} steps"
        assert f"| `{row['task']}`, {envs} | {row['iteration_s']:.1f} | {parts} |" in told


def test_returns_of_those_who_carry_a_belief() -> None:
    cells = [cell for cell in saved("borel")["cells"] if cell["method"] == "relabelled"]
    told = [line for line in lines("docs/borel.md") if "| belief |" in line]
    assert len(cells) > 8
    for cell in cells:
        if cell["task"] in ("hidden_holes", "half_cheetah_vel"):  # told with fewer digits, several in a line
            continue
        words = " | ".join(f"{value:.2f}" for value in cell["returns"])
        assert any(words in line for line in told), (cell["task"], cell["seed"], words)


def test_what_the_soak_came_to() -> None:
    soak = saved("deploy_soak")
    text = (ROOT / "README.md").read_text() + (ROOT / "docs/deploy.md").read_text()
    assert soak["violations"] == soak["completed_but_lost"] == soak["processes_left"] == 0
    assert text.count(f"{soak['set_points']['came']:,}") == 2
