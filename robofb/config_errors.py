"""Say in one line what is wrong with a user's overrides, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError

from robofb.errors import UserError
from robofb.verbs import Verb

_KINDS = {
    "Integer": "a whole number",
    "Float": "a number",
    "valid bool": "true or false",
    "not Optional": "a value, not null",
}


def explain(verb: Verb, error: Exception, base: Callable[[], DictConfig]) -> UserError:
    """Translate what Hydra or OmegaConf raised.

    Args:
        verb: whose config was composed.
        error: what was raised.
        base: returns the config without the faulty overrides, to name the valid keys.
    """
    if isinstance(error, OverrideParseException):
        return UserError(
            f"cannot read '{error.override}': write key=value, and quote special characters: \"key='a=b'\""
        )
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return UserError(f"{group}={name}: no such {group}{_suggest(name, error.options)}")
    in_file = _first_line(error).endswith("raised while composing config:")
    wrapped = error.__context__ if in_file else error.__cause__
    cause = error if isinstance(error, OmegaConfBaseException) else wrapped
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and cause.full_key:
        return _explain_key(verb, cause.full_key, base())
    if isinstance(cause, ValidationError):
        given = _first_line(error).removeprefix("Error merging override ") if cause is not error else ""
        key = str(cause.full_key or "").strip()
        return UserError(f"{given or key}: {_explain_value(cause)}")
    if "Ambiguous value" in str(error):
        word = str(error).partition("'")[2].partition("'")[0]
        return UserError(f"{word} holds several values: add -m to sweep over them, or write [a,b] for a list")
    if "interpolation '${task}'" in str(error):  # the settings are the task's own
        return UserError(f"{verb.name} needs task=...")
    return UserError(_first_line(cause if in_file and cause else error))


def unknown_key(where: str, key: str, valid: Sequence[str]) -> UserError:
    """Name a key that does not exist and those that do."""
    return UserError(f"{where} has no key '{key}'{_suggest(key, valid)}")


def explain_missing(verb: str, missing: Sequence[str], docs: Mapping[str, str]) -> UserError:
    """Name the values that only the user can give."""
    wanted = [f"{key}=... ({docs[key].rstrip('.')})" if docs.get(key) else f"{key}=..." for key in missing]
    return UserError(f"{verb} needs {' and '.join(wanted)}")


def _explain_key(verb: Verb, full_key: str, base: DictConfig) -> UserError:
    """Find where along a dotted key the config ends, and list what is there."""
    where, node = verb.name, base
    for part in full_key.split("."):
        if part not in node:
            names = [str(name) for name in node if not str(name).startswith("_")]
            return unknown_key(where, full_key if node is base else part, names)
        inner = node._get_node(part)
        if not isinstance(inner, DictConfig) or inner._is_none() or inner._is_missing():
            return UserError(f"{verb.name}: '{full_key}' does not exist, '{part}' holds a plain value")
        where, node = f"{where}: {part}", inner
    return UserError(f"{verb.name}: cannot set '{full_key}'")


def _explain_value(cause: ValidationError) -> str:
    message = _first_line(cause)
    for name, kind in _KINDS.items():
        if name in message:
            return f"needs {kind}"
    return message


def _suggest(name: str, valid: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.rpartition(".")[2], valid, n=1)
    hint = f", did you mean '{close[0]}'?" if close else ";"
    return f"{hint} valid: {', '.join(sorted(valid))}"


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
