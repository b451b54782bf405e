"""What the report of a quickstart shows."""

from __future__ import annotations

from collections.abc import Mapping

from robofb.evaluate import Evaluation, Film, policy_result
from robofb.provenance import origin
from robofb.report import Curve, ReportData
from robofb.run import Run

STAGES = {  # by the key of its time in summary.json
    "demonstrations": "collect demonstrations",
    "train_bc": "train the diffusion policy",
    "evaluate_bc": "evaluate the diffusion policy",
    "train_residual": "train the residual",
    "evaluate_residual": "evaluate with the residual",
    "report": "film and report",
}


def report_data(
    run: Run, bc: Run, residual: Run, base: Evaluation, final: Evaluation, videos: Mapping[str, Film]
) -> ReportData:
    """Gather what the report shows from the run folders and the two evaluations."""
    summary, meta = run.summary(), run.meta
    demonstrations, training = summary["demonstrations"], residual.summary()["residual_training"]
    selection = [row for row in residual.metrics() if "select/success" in row]
    policies = [
        policy_result("Diffusion policy", base, videos.get("bc")),
        policy_result("With residual (ResiP)", final, videos.get("residual")),
    ]
    curve = Curve(
        name="With residual, selection episodes",
        env_steps=[row["step"] for row in selection],
        seconds=[row["seconds"] for row in selection],
        rates=[row["select/success"] for row in selection],
        episodes=residual.config["select_episodes"],
    )
    return ReportData(
        title=f"{base.task}: from demonstrations to a residual policy",
        lead=(
            f"A diffusion policy cloned from {demonstrations['kept']} scripted demonstrations "
            f"({demonstrations['discarded']} failed attempts thrown away), then corrected step by step by a "
            "residual trained with PPO from sparse reward. Both are judged on the same start states, unseen "
            "by training and by the choice of checkpoints."
        ),
        policies=policies,
        curves=[curve],
        seconds={words: summary["seconds"][stage] for stage, words in STAGES.items()},
        facts={
            "seed": str(run.config["seed"]),
            "environment steps": f"{training['env_steps']:,}",
            "training ended": training["ended"],
            "peak memory": f"{summary['peak_memory_gb']:.1f} GB",
            "wall time": f"{summary['seconds']['total'] / 60:.1f} min",
            "machine": f"{meta['machine']['cores']} cores of {meta['machine']['processor']}",
        },
        configs={each.kind: (each.path / "config.yaml").read_text() for each in (run, bc, residual)},
        versions=origin(meta, "run"),
    )
