"""The `robofb` command. Every verb imports its entry point only when it is called."""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from robofb import __version__
from robofb.asset_verbs import app as assets_app
from robofb.data_verbs import make_app
from robofb.errors import UserError
from robofb.verbs import VERBS, Verb

app = typer.Typer(
    help="From demonstrations to a reliable robot policy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
train_app = typer.Typer(help="Train a policy.", no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"robofb {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From demonstrations to a reliable robot policy."""


class _VerbCommand(TyperCommand):
    """A verb whose help also lists the keys of its config."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        verb = VERBS["_".join(ctx.command_path.split()[1:])]
        typer.echo(_keys_text(verb))


def _keys_text(verb: Verb) -> str:
    """List every key with its default, its choices and its sentence."""
    from robofb.config import has_settings, key_help

    lines = ["Keys (KEY=VALUE; inner ones as in policy.horizon=8; --cfg shows those of a choice):"]
    if has_settings(verb):
        lines.append("A task's own settings, where there are any, replace what is shown: see task=... --cfg.")
    lines.append("")
    for key in key_help(verb.name):
        lines.append(f"  {key.name}={key.default}")
        if key.doc:
            lines.append(f"      {key.doc}")
        if key.choices:
            lines.append(f"      choices: {', '.join(key.choices)}")
    return "\n".join(lines) + "\n"


def _configured(verb: Verb) -> Callable[..., None]:
    """Make the command of a verb that takes Hydra overrides."""

    def command(
        overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE")] = None,
        multirun: Annotated[
            bool,
            typer.Option(
                "-m", "--multirun", help="Sweep: seed=1,2,3; in parallel with hydra/launcher=joblib."
            ),
        ] = False,
        cfg: Annotated[bool, typer.Option("--cfg", help="Print the composed config and stop.")] = False,
    ) -> None:
        from robofb.config import compose, find_verb, sweep

        words = overrides or []
        meant = find_verb(verb.name, words)
        if multirun:
            sweep(meant.name, words, functools.partial(_sweep_job, meant))
            return
        composed = compose(meant.name, words)
        if cfg:
            from omegaconf import OmegaConf

            typer.echo(OmegaConf.to_yaml(composed), nl=False)
            return
        _call(meant, composed)

    command.__doc__ = verb.summary
    return command


def _call(verb: Verb, cfg: Any) -> None:
    """Call a verb's entry point; tell where the run is that it made."""
    from robofb.config import load_object
    from robofb.run import Run

    _log_to_console()
    result = load_object(verb.entry)(cfg)
    if isinstance(result, Run) and result.rank == 0:
        typer.echo(f"run {result.path}")


def _sweep_job(verb: Verb, cfg: Any) -> None:
    """Run one combination of a sweep, maybe in a process of its own."""
    from hydra.core.hydra_config import HydraConfig

    from robofb.config import check

    typer.echo(
        f"sweep job {HydraConfig.get().job.num}: {' '.join(HydraConfig.get().overrides.task)}", err=True
    )
    _call(verb, check(verb, cfg))


for _verb in VERBS.values():
    _group, _, _word = _verb.name.rpartition(" ")
    if _group == "train":
        train_app.command(_word, cls=_VerbCommand)(_configured(_verb))
    else:  # `robofb deploy replay` beside `robofb deploy`, which takes words itself
        app.command(_verb.name, cls=_VerbCommand)(_configured(_verb))
app.add_typer(train_app, name="train")
app.add_typer(make_app(), name="data")
app.add_typer(assets_app, name="assets")


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check what works on this machine, and say how to fix what does not."""
    from robofb.doctor import diagnose, format_findings

    findings = diagnose()
    if as_json:
        typer.echo(json.dumps([finding.to_dict() for finding in findings], indent=1))
    else:
        typer.echo(format_findings(findings))
    if any(finding.status == "broken" for finding in findings):
        raise typer.Exit(1)


_OUT_OF_MEMORY = re.compile("can't allocate memory|out of memory|size calculation overflowed")  # torch's


class _ConsoleHandler(logging.Handler):
    """Print log lines above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def _log_to_console() -> None:
    logger = logging.getLogger("robofb")
    if not any(isinstance(handler, _ConsoleHandler) for handler in logger.handlers):
        handler = _ConsoleHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


def _fail(message: str, code: int) -> int:
    typer.echo(f"robofb: {message}", err=True)
    return code


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 a failed check, 2 a user's mistake, 130 Ctrl-C."""
    words = sys.argv[1:] if arguments is None else arguments
    if "" in words:  # as a path it would be taken for the current folder
        return _fail(f"word {words.index('') + 1} of the command is empty: give a path or value", 2)
    if empty := next((word for word in words if re.fullmatch(r"--[\w-]+=", word)), ""):
        return _fail(f"{empty} needs a path or value", 2)
    if "_".join(words[:2]) in VERBS and words[0] in VERBS:
        words = [" ".join(words[:2]), *words[2:]]
    try:
        result = app(args=words, prog_name="robofb", standalone_mode=False)
    except UserError as error:
        return _fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("stopped", 130)
    except typer.Exit as leave:
        return leave.exit_code
    except (MemoryError, RuntimeError) as error:
        if "MUJOCO_GL" in str(error):  # MuJoCo's, on import
            return _fail(f"{error}: egl, osmesa or glfw, or leave it unset", 2)
        if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
            return _fail(f"more memory is asked for than there is: {(str(error).splitlines() or [''])[0]}", 2)
        raise
    except Exception as error:
        if hasattr(error, "format_message"):  # Typer's own usage errors
            message, context = error.format_message(), getattr(error, "ctx", None)
            command = context.command_path if context else "robofb"
            return _fail(f"{message} (try '{command} --help')", 2) if message else 2
        raise
    return result if isinstance(result, int) else 0


def main() -> None:
    """Entry point of the `robofb` command."""
    sys.exit(run())


if __name__ == "__main__":
    main()
