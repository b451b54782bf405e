"""Put a user's words into Hydra's grammar."""

from __future__ import annotations

import re
from pathlib import Path


def key_of(word: str) -> str:
    """Return what a word such as "+task.x=1" or "~task" speaks of."""
    return word.partition("=")[0].lstrip("+~")


def added(word: str, free_keys: set[str]) -> str:
    """Let any key be said within a free group, such as the overrides of a stage: residual.clip=0.1."""
    key, equals, _ = word.partition("=")
    return f"++{word}" if equals and key.partition(".")[0] in free_keys else word


def quoted(word: str, text_keys: set[str]) -> str:
    """Quote a path, which Hydra's grammar may stumble over: run=runs/lr=0.1, data=~/demos, out=1e3.

    A comma stays bare, for it may be a sweep; so do null and what the user quoted or interpolates.
    """
    key, equals, value = word.partition("=")
    if not equals or key not in text_keys or value in ("", "null") or value[0] in "'\"$=" or "," in value:
        return word
    if value.startswith("~"):
        value = str(Path(value).expanduser())
    escaped = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), value)
    return f"{key}='{escaped}'"


def quoted_list(word: str, path_keys: set[str]) -> str | None:
    """Quote each path of a list such as data=[a,~/b]; return None where the word is no such list."""
    key, _, value = word.partition("=")
    if key not in path_keys or not (value.startswith("[") and value.endswith("]")):
        return None
    items = [quoted(f"{key}={item.strip()}", path_keys) for item in value[1:-1].split(",")]
    return f"{key}=[{','.join(item.partition('=')[2] for item in items)}]"
