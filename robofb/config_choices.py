"""What groups of configs offer, of which a verb can do without some."""

from __future__ import annotations

import importlib.resources
import logging
from collections.abc import Sequence

import yaml

from robofb.config_files import CONFIG_MODULE, is_file
from robofb.config_words import key_of
from robofb.errors import UserError
from robofb.verbs import Verb

LOG = logging.getLogger(__name__)
_CONFIGS = importlib.resources.files(CONFIG_MODULE)
SETTINGS = ("settings", "agents_settings", "borel_settings")
"""Config groups that hold what was tried for a task, of one verb each."""

GROUPS_OF_VALUES = {"preset", *SETTINGS}
"""Config groups whose files fill in the verb's own keys."""


def tell_of_settings(verb: Verb, words: Sequence[str]) -> None:
    """Say that a task of the user's own brings no settings, as one of ours brings those that were tried."""
    said = {key_of(word): word.partition("=")[2] for word in words}
    for group in left_out(verb) & set(SETTINGS) - {key.lstrip("~") for key in said}:
        if is_file(said.get("task", "")):
            LOG.warning(
                "task=%s: a file brings no settings; %s=NAME takes those of a task of ours: %s",
                said["task"],
                group,
                ", ".join(choices_of(group)),
            )


def check_choices(verb: Verb, words: Sequence[str]) -> None:
    """Refuse a choice that does not exist, or says nothing, of a group that may be left out.

    Hydra takes no notice of it, for a verb can do without.
    """
    groups = left_out(verb) | set(SETTINGS)
    for word in words:
        group, value = key_of(word), word.partition("=")[2]
        if group not in groups or value in ("", "null"):
            continue
        valid = choices_of(group)
        for name in value.strip("[]").split(","):
            if not is_file(name) and name.strip(" '\"") not in valid:
                raise UserError(f"{group}={name}: no such {group}; valid: {', '.join(valid)}")


def left_out(verb: Verb) -> set[str]:
    """Return the groups that a verb can do without."""
    listed = yaml.safe_load((_CONFIGS / f"{verb.config}.yaml").read_text())["defaults"]
    keys = [key for each in listed if isinstance(each, dict) for key in each]
    return {key.removeprefix("optional ") for key in keys if key.startswith("optional ")}


def choices_of(group: str) -> tuple[str, ...]:
    """Return the choices of a group that say anything."""
    files = {file.name.removesuffix(".yaml"): file for file in (_CONFIGS / group).iterdir()}
    return tuple(sorted(name for name, file in files.items() if yaml.safe_load(file.read_text())))
