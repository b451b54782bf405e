"""A user's own file in place of a choice of ours: arm=lab/left_ur5e.yaml."""

from __future__ import annotations

import hashlib
import importlib.resources
import re
from pathlib import Path

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from robofb.errors import UserError

CONFIG_MODULE = "robofb.configs"
_SUFFIXES = (".yaml", ".yml")
_PACKAGE = re.compile(r"^#\s*@package\s+(\S+)", re.MULTILINE)


def is_file(choice: str) -> bool:
    """Return whether a choice of a group names a file."""
    return choice.strip("'\"").endswith(_SUFFIXES)


def taken_in(word: str) -> str:
    """Return a word that chooses a group by a file as one that Hydra knows, having shown it the file.

    Any other word is returned as it is.

    Raises:
        UserError: the file is not there, no YAML as ours is, or speaks of Hydra itself.
    """
    key, _, choice = word.partition("=")
    group = key.lstrip("+")
    if not is_file(choice) or not (importlib.resources.files(CONFIG_MODULE) / group).is_dir():
        return word
    path = Path(choice.strip("'\"")).expanduser()
    try:
        text = path.read_text("utf-8-sig")
        node = OmegaConf.create(text)  # a key that is there twice is refused, and 1e-1 is a number
    except (OSError, UnicodeDecodeError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "it cannot be read"
        raise UserError(f"{word}: {reason}") from error
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{word}: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UserError(f"{word}: too deep") from error
    if not OmegaConf.is_dict(node) or not node:
        raise UserError(f"{word}: holds no keys")
    header = _PACKAGE.search(text)
    if "hydra" in node or (header and "hydra" in header[1].split(".")):
        raise UserError(f"{word}: says what Hydra itself shall do; a file chooses for robofb alone")
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    name = f"file_{digest}"  # no choice of ours is called so, and any letters may be in a path
    ConfigStore.instance().store(
        name=name, node=node, group=group, package=header[1] if header else None, provider=str(path)
    )
    return f"{key}={name}"
