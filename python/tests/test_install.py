"""`pip install ./python` into a fresh environment, as a user does it, but for the profile."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .rig import Rig

pytestmark = pytest.mark.install

ROOT = Path(__file__).resolve().parent.parent
USE = """
import asyncio, sys
from dspy_agent.infra import AgentInfra
import env_manager
from env_manager import binary

async def main():
    async with AgentInfra.start(stop_on_exit=True) as infra:
        await infra.submit_task("t", {"n": 1})
        print((await infra.get_task_status("t"))["status"], (await infra.health_check())["healthy"])

print(binary.find() == __import__("pathlib").Path(sys.executable).parent / "env-manager", env_manager.__version__)
asyncio.run(main())
"""
PLUGIN = """
def test_it(agent_infra_sync):
    assert agent_infra_sync.health_check()["healthy"]
"""


def call(*command: str | Path, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        [str(word) for word in command], env={**clean, **environment}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_a_fresh_environment_has_the_package_and_the_program(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENV_MANAGER_BIN")
    monkeypatch.setenv("HOME", os.environ["ENV_MANAGER_TEST_HOME"])  # cargo's and rustup's
    fresh = tmp_path / "fresh"
    call(sys.executable, "-m", "venv", fresh)
    # The release profile takes minutes. A target folder of its own: in the one of the tests, cargo would put another
    # program where they find theirs, while they run it.
    quicker = {
        "MATURIN_PEP517_ARGS": "--profile dev --auditwheel skip",
        "CARGO_PROFILE_DEV_DEBUG": "none",
        "CARGO_TARGET_DIR": str(ROOT.parent / "target" / "python"),
    }
    python = fresh / "bin/python"
    call(python, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "-w", tmp_path, ROOT, **quicker)
    (wheel,) = tmp_path.glob("env_manager-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"env_manager/py.typed", "env_manager/v1/orchestrator_pb2.pyi", "dspy_agent/infra/__init__.py"} <= names
    assert "dspy_agent/__init__.py" not in names, "it would hide a user's own"
    assert not [name for name in names if name.endswith(".pth")]
    call(python, "-m", "pip", "--disable-pip-version-check", "install", wheel, "pytest")
    assert (fresh / "bin/env-manager").exists()
    assert call(fresh / "bin/env-manager", "version").startswith("env-manager ")

    rig.service("redis")
    version = call(fresh / "bin/env-manager", "version").split()[1]
    assert call(python, "-c", USE).splitlines() == [f"True {version}", "pending True"]
    (tmp_path / "test_plugin.py").write_text(PLUGIN)
    assert "1 passed" in call(python, "-m", "pytest", "-q", tmp_path / "test_plugin.py")
    assert '"healthy": true' in call(python, "-m", "env_manager", "health", "-o", "json")

    # The two that a user's own package decides: it keeps what is its own, and gets `infra`.
    mine = tmp_path / "mine" / "dspy_agent"
    mine.mkdir(parents=True)
    (mine / "__init__.py").write_text("WHOSE = 'mine'\n")
    both = "import env_manager, dspy_agent; from dspy_agent.infra import AgentInfra; print(dspy_agent.WHOSE)"
    assert call(python, "-c", both, PYTHONPATH=str(mine.parent)) == "mine\n"
