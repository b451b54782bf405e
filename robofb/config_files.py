"""A user's own file in place of a choice of ours: arm=lab/left_ur5e.yaml."""

from __future__ import annotations

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
        UserError: the file is not there, or no YAML.
    """
    key, _, choice = word.partition("=")
    group = key.lstrip("+")
    if not is_file(choice) or not (importlib.resources.files(CONFIG_MODULE) / group).is_dir():
        return word
    path = Path(choice.strip("'\"")).expanduser()
    try:
        text = path.read_text()
        node = OmegaConf.create(yaml.safe_load(text))
    except (OSError, UnicodeDecodeError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "it cannot be read"
        raise UserError(f"{word}: {reason}") from error
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{word}: {' '.join(str(error).split())}") from error
    if not OmegaConf.is_dict(node):
        raise UserError(f"{word}: holds no keys")
    header = _PACKAGE.search(text)
    name = re.sub(r"\W", "_", str(path.resolve()))  # no choice of ours is called so
    ConfigStore.instance().store(
        name=name, node=node, group=group, package=header[1] if header else None, provider=str(path)
    )
    return f"{key}={name}"
