"""Cat DCGAN: a network that learns to generate pictures of cats, as a TensorFlow-1 style static graph.

Import the article's functions, and the rest of the public names, from here::

    from catdcgan import Dataset, generator, sample, train

TensorFlow is loaded when the first name that needs it is used, not by ``import catdcgan``. The names are
listed in ``__init__.pyi``, which editors, type checkers and this file all read.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

__version__ = "0.2.0.dev0"

_MODULE_OF = {
    node.names[0].name: node.module
    for node in ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8")).body
    if isinstance(node, ast.ImportFrom) and node.module
}
__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)
