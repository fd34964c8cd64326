"""The old import path, `dspy_agent.infra`, beside whatever else is called `dspy_agent`.

Where nobody else has a `dspy_agent`, the wheel's `dspy_agent/infra/__init__.py` is found by itself: without an
`__init__.py` above it, `dspy_agent` is a namespace package, and hides nobody's. A user's own package `dspy_agent` hides
it; for that case a finder at the very end of `sys.meta_path` serves `dspy_agent.infra` where the user's package has
none.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

NAME = "dspy_agent.infra"
_SOURCE = Path(__file__).resolve().parent / "_dspy_agent_infra.py"


class Finder(importlib.abc.MetaPathFinder):
    """Asked last, so only where nobody else has that module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != NAME:
            return None
        return importlib.util.spec_from_file_location(fullname, _SOURCE)


def install() -> None:
    """Once."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.append(Finder())
