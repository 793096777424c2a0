"""Finding and reading a benchmark's files; whatever is wrong with them is one line that names the file."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from posecore.errors import UserError


def find(root: Path, benchmark: str, *candidates: str) -> Path:
    """The first of some paths below a folder that exists.

    Raises:
        UserError: none does.
    """
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    what = "no such folder" if not root.is_dir() else f"found no {' nor '.join(candidates)} in it"
    raise UserError(
        f"{root}: not laid out as {benchmark}: {what}; `trainer benchmarks {benchmark}` shows the layout and the source"
    )


def library(name: str) -> ModuleType:
    """A module that only some benchmarks need.

    Raises:
        UserError: not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        package = name.split(".")[0]
        raise UserError(f'this benchmark needs {package}: pip install "posesynth[benchmarks]"') from None


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: unreadable.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a JSON file ({error})") from None


def read_mat(path: Path, *names: str, **options: Any) -> tuple[np.ndarray, ...]:
    """Some variables of a Matlab file of version 7 or older.

    Args:
        options: of scipy.io.loadmat.

    Raises:
        UserError: unreadable, or a variable is not there.
    """
    io = library("scipy.io")
    try:
        content = io.loadmat(path, **options)
        return tuple(content[name] for name in names)
    except KeyError as error:
        raise UserError(f"{path}: holds no {error}; is it of another dataset?") from None
    except (OSError, ValueError, NotImplementedError, io.matlab.MatReadError) as error:
        raise UserError(f"{path}: not a Matlab file of version 7 or older ({error})") from None
