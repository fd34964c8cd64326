"""Where the program `env-manager` is, and whether it is of this package's version."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from . import settings
from .errors import BinaryNotFound, WrongVersion

NAME = "env-manager"
#: Seconds that `env-manager version` has.
PATIENCE = 20.0


def package_version() -> str | None:
    """Of the installed package; `None` where it is used without being installed."""
    try:
        return metadata.version("env-manager")
    except metadata.PackageNotFoundError:
        return None


def find(cli_path: str | os.PathLike[str] | None = None) -> Path:
    """The program. Looked for in `cli_path`, `DSPY_AGENT_CLI_PATH`, `ENV_MANAGER_BIN` (what is named must be there),
    then in this package's own install, in the scripts directories of this Python, and on PATH: the first one of the
    package's version is taken.

    Raises:
        BinaryNotFound: it is nowhere.
        WrongVersion: where it is, it is of another version.
    """
    named = {
        "cli_path": cli_path,
        "DSPY_AGENT_CLI_PATH": settings.text("DSPY_AGENT_CLI_PATH"),
        "ENV_MANAGER_BIN": settings.text("ENV_MANAGER_BIN"),
    }
    for origin, path in named.items():
        if path:
            found = shutil.which(os.path.expanduser(os.fspath(path)))
            if found is None:
                raise BinaryNotFound(f"{origin} is `{path}`: there is no program")
            _compare(Path(found))
            return Path(found).resolve()
    wrong: WrongVersion | None = None
    looked = []
    for candidate in _candidates():
        looked.append(str(candidate.parent))
        if not os.access(candidate, os.X_OK) or candidate.is_dir():
            continue
        try:
            _compare(candidate)
        except WrongVersion as error:
            wrong = wrong or error
            continue
        return candidate.resolve()
    if wrong is not None:
        raise wrong
    raise BinaryNotFound(
        f"the program `{NAME}` is not found; looked in {', '.join(dict.fromkeys(looked))}. "
        "Install the package with `pip install ./python`, or set ENV_MANAGER_BIN"
    )


def _candidates() -> Iterator[Path]:
    try:
        files = metadata.files("env-manager") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == NAME:
            yield Path(str(file.locate()))
    yield Path(sysconfig.get_path("scripts")) / NAME
    yield Path(sys.executable).parent / NAME
    yield Path(site.getuserbase()) / "bin" / NAME
    for folder in os.get_exec_path():
        yield Path(folder or ".") / NAME


def _compare(program: Path) -> None:
    wanted = package_version()
    if wanted is None:
        return
    try:
        ran = subprocess.run([program, "version"], capture_output=True, text=True, timeout=PATIENCE, check=False)
        words = ran.stdout.split()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WrongVersion(f"{program} does not tell its version: {error}") from None
    found = words[1] if len(words) > 1 and words[0] == NAME else "unknown"
    # What stands on the wire only grows within a minor version.
    if found.split(".")[:2] != wanted.split(".")[:2]:
        raise WrongVersion(f"{program} is of version {found}, this package of {wanted}: update one of them")
