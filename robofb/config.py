"""Compose what a verb runs with: its dataclass, the YAML groups and the user's overrides.

Each verb has a primary config `configs/<verb>.yaml`, typed by a dataclass that lives beside the loop
that reads it. The dataclass is imported, and registered with Hydra, only when its verb is composed.
"""

from __future__ import annotations

import importlib
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from robofb.config_choices import (
    GROUPS_OF_VALUES,
    SETTINGS,
    check_choices,
    choices_of,
    left_out,
    tell_of_settings,
)
from robofb.config_docs import key_docs
from robofb.config_errors import explain, explain_missing, unknown_key
from robofb.config_files import CONFIG_MODULE, taken_in
from robofb.config_words import added, key_of, quoted, quoted_list
from robofb.errors import UserError
from robofb.verbs import VERBS, Verb


@dataclass(frozen=True)
class KeyHelp:
    """One key of a verb's config, for its help."""

    name: str
    default: str
    choices: tuple[str, ...]
    doc: str


def find_verb(name: str, overrides: Sequence[str] = ()) -> Verb:
    """Return the verb called "train bc" or "train_bc", or the one that is meant by the user's words."""
    key = name.replace(" ", "_")
    if key not in VERBS:
        raise UserError(f"no config for '{name}'; valid: {', '.join(VERBS)}")
    verb = VERBS[key]
    meant = [verb.meant_by[key_of(word)] for word in overrides if key_of(word) in verb.meant_by]
    return VERBS[meant[0]] if meant else verb


def load_object(address: str) -> Any:
    """Import "package.module:name"."""
    module, _, name = address.partition(":")
    return getattr(importlib.import_module(module), name)


def compose(verb_name: str, overrides: Sequence[str] = ()) -> Any:
    """Return the checked config of a verb; `resume=<run>` starts from that run's own config.

    It is a DictConfig with the fields of the verb's dataclass.

    Args:
        verb_name: "collect", "train bc", "train residual", "eval" or "quickstart"; see `find_verb`.
        overrides: the user's words, such as "seed=7" or "policy.horizon=8".

    Raises:
        UserError: one line for an unknown key or choice, a bad value or a missing one.
    """
    verb = find_verb(verb_name, overrides)
    words = _words(verb, overrides)
    with _explained(verb, words):
        with _hydra(verb):
            names = _names(verb)
            cfg = hydra_compose(verb.config, overrides=[w for w in words if key_of(w) not in names])
            for override in OverridesParser.create().parse_overrides(
                [w for w in words if key_of(w) in names]
            ):
                if override.is_sweep_override():
                    raise UserError(f"{override.input_line}: needs one value")
                OmegaConf.update(cfg, override.key_or_group, override.value())
        if resume := cfg.get("resume"):
            _continue_from(verb, cfg, resume, words)
        return check(verb, cfg)


def check(verb: Verb, cfg: DictConfig) -> DictConfig:
    """Return `cfg` if it has every key of its dataclass, no other, and no value missing."""
    valid = [field.name for field in fields(load_object(verb.schema))]
    for key in cfg:
        if key not in valid:
            raise unknown_key(verb.name, str(key), valid)
    for key in valid:
        if key not in cfg.keys():  # noqa: SIM118 (`in cfg` is false for missing values)
            raise UserError(f"{verb.name} cannot do without '{key}'")
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise explain_missing(verb.name, missing, key_docs(load_object(verb.schema)))
    for key in valid:
        if key.endswith("seed") and not -(2**63) <= cfg[key] < 2**63:
            raise UserError(f"{key}={cfg[key]}: needs a whole number of at most 63 bits")
    OmegaConf.to_object(cfg)  # runs the dataclass's own checks
    return cfg


def sweep(verb_name: str, overrides: Sequence[str], job: Callable[[DictConfig], Any]) -> None:
    """Run `job` for every combination of comma-separated values, by Hydra's launchers.

    Args:
        verb_name: as in `compose`.
        overrides: such as "seed=1,2,3" and "hydra/launcher=joblib".
        job: picklable; receives the raw config of one combination and should `check` it.
    """
    verb = find_verb(verb_name, overrides)
    words = _words(verb, overrides)
    if any(key_of(word) == "resume" for word in words):
        raise UserError("resume continues one run with one set of values: leave out -m")
    for word in words:
        shared = not any(sign in word for sign in (",", "${")) and not word.endswith("=null")
        if key_of(word) == "out" and shared:
            raise UserError(
                f"{word}: each run of a sweep needs a folder of its own; leave out out=, or say "
                "'out=runs/x-${seed}'"
            )
    folder = f"runs/sweeps/{datetime.now():%Y-%m-%d-%H%M%S}-{verb.config}"
    quiet = [f"hydra.sweep.dir={folder}", "hydra.sweep.subdir=.", "hydra.output_subdir=null"]
    quiet += [
        "hydra.job.chdir=false",
        f"hydra.job.name={verb.config}",
        "hydra/job_logging=none",
        "hydra/hydra_logging=none",
    ]
    with _explained(verb, words), _hydra(verb) as hydra:
        hydra.multirun(verb.config, job, [*quiet, *words], with_log_configuration=False)


def has_settings(verb: Verb) -> bool:
    """Return whether tasks may have settings of their own for a verb."""
    with _hydra(verb):
        choices = hydra_compose(verb.config, return_hydra_config=True).hydra.runtime.choices
        return bool(set(SETTINGS) & set(choices))


def key_help(verb_name: str) -> list[KeyHelp]:
    """Return every key of a verb with its default, the choices of a group, and its sentence."""
    verb = find_verb(verb_name)
    with _hydra(verb):
        loader = GlobalHydra.instance().config_loader()
        cfg = hydra_compose(verb.config, return_hydra_config=True)
        chosen = dict(cfg.hydra.runtime.choices)
        options = {group: tuple(loader.get_group_options(group)) for group in loader.list_groups("")}
    options |= {group: choices_of(group) for group in left_out(verb)}
    docs = key_docs(load_object(verb.schema))
    more = sorted(left_out(verb) - docs.keys() - set(SETTINGS))  # they fill in several keys
    return [
        KeyHelp(name, _shown_default(cfg, name, chosen), options.get(name, ()), doc)
        for name, doc in docs.items()
    ] + [
        KeyHelp(group, "null", options[group], "fills in other keys; or a file of your own.")
        for group in more
    ]


def _shown_default(cfg: DictConfig, key: str, chosen: Mapping[str, Any]) -> str:
    if OmegaConf.is_missing(cfg, key):
        return "required"
    value = chosen.get(key, cfg[key])
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


@contextmanager
def _hydra(verb: Verb) -> Iterator[Any]:
    """Start Hydra on our configs with the verb's dataclass registered; may be nested, as in a sweep."""
    ConfigStore.instance().store(name=f"{verb.config}_schema", node=load_object(verb.schema))
    outer, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        with initialize_config_module(CONFIG_MODULE, version_base="1.3"):
            yield GlobalHydra.instance().hydra
    finally:
        GlobalHydra.instance().hydra = outer


@contextmanager
def _explained(verb: Verb, words: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except (HydraException, OmegaConfBaseException, ValueError, TypeError) as error:
        if "Config group override must be" in str(error):  # Hydra does not say which
            raise UserError(f"{' '.join(words)}: a group such as task is chosen by its name") from error
        raise explain(verb, error, lambda: _base(verb, words)) from error


def _base(verb: Verb, words: Sequence[str]) -> DictConfig:
    """Return the config with only the user's choices of groups: what the other keys may be."""
    with _hydra(verb):
        groups = GlobalHydra.instance().config_loader().list_groups("")
        choices = [word for word in words if word.partition("=")[0] in groups and "," not in word]
        try:
            return hydra_compose(verb.config, overrides=choices)
        except HydraException:  # a file of the user's is what is wrong
            return hydra_compose(verb.config)


def _keys_of(verb: Verb, *types: Any) -> set[str]:
    """Return the keys of a verb that hold values of these types."""
    schema = load_object(verb.schema)
    hints = typing.get_type_hints(schema)
    return {field.name for field in fields(schema) if hints[field.name] in types}


def _names(verb: Verb) -> set[str]:
    """Return the keys that hold a text although Hydra knows a group of that name: quickstart's task=x."""
    groups = set(GlobalHydra.instance().config_loader().list_groups(""))
    return _keys_of(verb, str) & groups - {"preset"}  # which is chosen as a group and writes its own name


def _words(verb: Verb, overrides: Sequence[str]) -> list[str]:
    """Put a user's words into Hydra's grammar."""
    free, paths = _keys_of(verb, dict[str, Any]), _paths_of(verb)
    check_choices(verb, overrides)
    tell_of_settings(verb, overrides)
    text = _keys_of(verb, str, str | None) | paths
    said = [key_of(word) for word in overrides]
    for key in said:
        inner = next((other for other in said if other.startswith(f"{key}.")), None)
        if inner and key.partition(".")[0] in free:
            raise UserError(f"{key} and {inner}: say one of them, for one replaces the other")
    overrides = [word if key_of(word) in free | text else taken_in(word) for word in overrides]
    words = [added(quoted_list(word, paths) or quoted(word, text), free) for word in overrides]
    return ["~task" if word == "task=null" else word for word in words]  # Hydra's way to leave a group out


def _paths_of(verb: Verb) -> set[str]:
    """Return the keys that hold one path or a list of several."""
    return {field.name for field in fields(load_object(verb.schema)) if field.metadata.get("paths")}


def _continue_from(verb: Verb, cfg: DictConfig, resume: str, words: Sequence[str]) -> None:
    """Put the config of a run in place of the defaults; what the user said now still counts."""
    from robofb.run import Run

    run, kind = Run.open(resume), verb.config.removeprefix("train_")
    if run.kind != kind:
        raise UserError(f"resume={resume}: {run.sort}; robofb {verb.name} continues {kind} runs")
    stored = run.config
    given = {
        override.key_or_group: override for override in OverridesParser.create().parse_overrides(list(words))
    }
    out = given["out"].value() if "out" in given else None
    if out is not None and Path(str(out)).resolve() != run.path.resolve():
        raise UserError(f"out={out}: resume={resume} goes on in its own folder; leave out away")
    for group in GROUPS_OF_VALUES & given.keys():
        word = f"~{group}" if given[group].is_delete() else f"{group}={given[group].value()}"
        raise UserError(f"{word}: a continued run keeps its values; name the keys you want to change")
    for key in cfg:
        if key in stored and key not in given and key != "out":
            OmegaConf.update(cfg, str(key), stored[key], merge=False)
    for key, override in given.items():
        parent = key.rpartition(".")[0]
        if parent and not OmegaConf.is_config(holder := OmegaConf.select(cfg, parent)) and holder is not None:
            raise UserError(f"{key}: {parent} is {holder} in {resume}, which has no inner keys")
        if parent:
            is_new = override.is_add() or override.is_force_add()
            OmegaConf.update(cfg, key, override.value(), force_add=is_new)
