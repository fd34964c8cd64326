"""What importing does: no gRPC where none is needed, and the old path beside whatever else is called `dspy_agent`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import env_manager

SOURCE = Path(env_manager.__file__).resolve().parent.parent
ROOT = Path(__file__).resolve().parent.parent


def python(code: str, *path: Path, cwd: Path | None = None) -> str:
    """What a fresh interpreter prints, with these folders before everything else."""
    places = [str(place) for place in path] + [entry for entry in sys.path if entry]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "module", ["env_manager", "env_manager.worker", "env_manager.worker.child", "env_manager.pytest_plugin"]
)
def test_no_grpc_is_imported_by(module: str) -> None:
    said = python(f"import sys, {module}; from env_manager import task_handler; print('grpc' in sys.modules)")
    assert said == "False\n"


def test_every_name_of_the_package_is_there() -> None:
    for name in env_manager.__all__:
        assert getattr(env_manager, name) is not None
    assert sorted(env_manager.__all__) == env_manager.__dir__()
    with pytest.raises(AttributeError, match="nothing_like_it"):
        env_manager.nothing_like_it  # noqa: B018


USE = (
    "from dspy_agent.infra import AgentInfra, OrchestratorClient, ensure_infra_sync; "
    "import env_manager; print(AgentInfra is env_manager.AgentInfra)"
)
AFTER = "import env_manager; " + USE


def users(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_nobody_else_has_a_dspy_agent(tmp_path: Path) -> None:
    assert python(USE) == "True\n"
    assert not (SOURCE / "dspy_agent" / "__init__.py").exists(), "it would hide a user's own"


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_users_package_keeps_its_own_and_gets_infra(tmp_path: Path, order: str) -> None:
    """On PYTHONPATH, before or after ours; an editable install is a path, too."""
    mine = users(tmp_path, {"dspy_agent/__init__.py": "WHOSE = 'mine'\n", "dspy_agent/agents.py": "N = 1\n"})
    paths = [mine, SOURCE] if order == "before" else [SOURCE, mine]
    code = AFTER + "; import dspy_agent, dspy_agent.agents; print(dspy_agent.WHOSE, dspy_agent.agents.N)"
    assert python(code, *paths) == "True\nmine 1\n"


def test_a_users_namespace_package_is_joined(tmp_path: Path) -> None:
    mine = users(tmp_path, {"dspy_agent/agents.py": "N = 1\n"})
    assert python(USE + "; import dspy_agent.agents; print(dspy_agent.agents.N)", mine) == "True\n1\n"


def test_a_users_own_infra_stays_theirs(tmp_path: Path) -> None:
    mine = users(tmp_path, {"dspy_agent/__init__.py": "", "dspy_agent/infra/__init__.py": "WHOSE = 'mine'\n"})
    assert python("import env_manager; from dspy_agent.infra import WHOSE; print(WHOSE)", mine) == "mine\n"


def test_an_editable_package_with_a_finder_of_its_own_gets_infra(tmp_path: Path) -> None:
    """As setuptools' editable installs do it: a finder, not a path."""
    mine = users(tmp_path / "hidden", {"dspy_agent/__init__.py": "WHOSE = 'mine'\n"})
    finder = (
        "import sys, importlib.util\n"
        "class Editable:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'dspy_agent':\n"
        f"            at = {str(mine / 'dspy_agent')!r}\n"
        "            return importlib.util.spec_from_file_location(\n"
        "                name, at + '/__init__.py', submodule_search_locations=[at])\n"
        "sys.meta_path.insert(0, Editable)\n"
    )
    assert python(finder + AFTER + "; import dspy_agent; print(dspy_agent.WHOSE)") == "True\nmine\n"


def test_the_documented_fallback_is_one_line(tmp_path: Path) -> None:
    """Where `env_manager` is not imported before."""
    mine = users(tmp_path, {"dspy_agent/__init__.py": ""})
    assert "ModuleNotFoundError" in python(USE, mine)
    users(tmp_path, {"dspy_agent/infra.py": "from env_manager.infra import *\n"})
    assert python(USE, mine) == "True\n"
