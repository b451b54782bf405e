"""`robofb data bank`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robofb.errors import UserError, check_seed

if TYPE_CHECKING:
    from robofb.augment.make_bank import StateSource

DRY_RUN_STATES = 32


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bank")(bank)


def bank(
    out: Annotated[Path, typer.Option(help="File of the bank, which does not exist yet.")],
    task: Annotated[
        str | None, typer.Option(help="Make states backwards from this task's assembled pose.")
    ] = None,
    demos: Annotated[
        Path | None, typer.Option(help="Or take them from the successes of this dataset, which stays.")
    ] = None,
    states: Annotated[int, typer.Option(min=1, help="States that it shall hold.")] = 4000,
    kinds: Annotated[
        str, typer.Option(help="Weights, such as grasped=1,near_goal=3; equal where not said.")
    ] = "",
    randomness: Annotated[
        str | None, typer.Option(help="Of the start states that --task begins from: low, med or high.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    num_envs: Annotated[
        int, typer.Option(min=1, help="Simulated together; changes the speed, not the result.")
    ] = 64,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try a few states, say what comes out, write nothing.")
    ] = False,
) -> None:
    """Make a reset bank: stable states of four kinds, for trainings on weak bases to start episodes in."""
    from contextlib import ExitStack, closing

    import torch

    from robofb.augment.demonstration_states import DemonstrationStates
    from robofb.augment.disassembly import Disassembler
    from robofb.store.episodes import EpisodeStore
    from robofb.store.index import fingerprint
    from robofb.worlds import env_of_task

    if (task is None) == (demos is None):
        raise UserError("say either --task NAME or --demos DATASET")
    if demos is not None and randomness is not None:
        raise UserError(f"--randomness {randomness}: the demonstrations have their own; leave it out")
    if out.exists():
        raise UserError(f"{out} exists: choose another place")
    weights = parse_kinds(kinds)
    check_seed("--seed", seed)
    torch.set_num_threads(1)
    facts: dict[str, Any] = {"seed": seed}
    with ExitStack() as stack:
        source: StateSource
        if demos is not None:
            store = stack.enter_context(EpisodeStore.open(demos))
            env = stack.enter_context(closing(env_of_task(store.spec.task, num_envs, store.meta)))
            source = DemonstrationStates(store, env, seed)
            facts |= {"method": "demonstrations", "source": str(demos)}
            facts |= {"source_index_sha256": fingerprint(store.entries)}
        else:
            meta = {} if randomness is None else {"randomness": randomness}
            env = stack.enter_context(closing(env_of_task(str(task), num_envs, meta)))
            source = Disassembler(env, seed)
            facts |= {"method": "disassembly", "randomness": getattr(env.task, "meta", {}).get("randomness")}
        _make(source, out, min(states, DRY_RUN_STATES) if dry_run else states, weights, facts, dry_run)


def _make(
    source: StateSource, out: Path, states: int, weights: dict[str, float], facts: dict[str, Any], dry: bool
) -> None:
    """Make the bank, save it unless `dry`, and say what it holds."""
    from robofb.augment.make_bank import make_bank
    from robofb.provenance import MADE_WITH, made_with

    made = make_bank(source, states, weights, {**facts, MADE_WITH: made_with()})
    held = ", ".join(f"{count} {kind}" for kind, count in made.counts.items())
    if dry:
        typer.echo(f"of {states} states tried for {made.spec.task}: {held}; nothing is written")
        return
    made.save(out)
    typer.echo(f"bank {out}: {len(made.states)} states of {made.spec.task}: {held}")


def parse_kinds(text: str) -> dict[str, float]:
    """Read weights such as "grasped=1,near_goal=3"; all equal where the text is empty.

    Raises:
        UserError: it cannot be read, or names an unknown kind.
    """
    from robofb.sim.reset_bank import EQUAL_SHARES, check_kinds

    if not text:
        return dict(EQUAL_SHARES)
    weights = {}
    for word in text.split(","):
        kind, _, weight = word.partition("=")
        if kind.strip() in weights:
            raise UserError(f"--kinds {text}: {kind.strip()} is there twice")
        try:
            weights[kind.strip()] = float(weight)
        except ValueError:
            raise UserError(f"--kinds {text}: '{word}' is not KIND=WEIGHT") from None
    return check_kinds(weights)
