"""Read what a config's docstring says of its keys."""

from __future__ import annotations

import inspect
from dataclasses import fields


def key_docs(schema: type) -> dict[str, str]:
    """Return each field's sentence in the "Attributes:" sections of a dataclass and its bases, else ""."""
    docs = {field.name: "" for field in fields(schema)}
    current = ""
    texts = [inspect.cleandoc(vars(base).get("__doc__") or "") for base in inspect.getmro(schema)[::-1]]
    lines = [line for text in texts for line in text.partition("Attributes:")[2].splitlines()]
    for line in lines:
        name, colon, text = line.strip().partition(":")
        listed = [word.strip() for word in name.split(",")]
        if colon and listed[0] in docs and len(line) - len(line.lstrip()) <= 4:
            for current in listed:
                docs[current] = text.strip()
        elif current and line.strip():
            docs[current] += " " + line.strip()
    return docs
