"""The pytest plugin, in sessions of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .fakes import Fake

TESTS = """
async def test_async(agent_infra):
    assert (await agent_infra.submit_task("from-async", {}))["success"]

async def test_another_loop(agent_infra):
    assert (await agent_infra.health_check())["healthy"]

def test_sync(agent_infra_sync):
    assert agent_infra_sync.submit_task("from-sync", {})["success"]
"""
UNUSED = """
import sys

def test_nothing_is_imported():
    assert "grpc" not in sys.modules
"""


async def session(folder: Path, tests: str, fake: Fake) -> str:
    import asyncio

    (folder / "test_it.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "ENV_MANAGER_GRPC_ADDR": fake.address,
        "ORCHESTRATOR_GRPC_ADDR": fake.address,
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "env_manager.pytest_plugin", str(folder)]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return out.decode()


async def test_tests_get_an_infra_on_their_own_loop(fake: Fake, tmp_path: Path) -> None:
    said = await session(tmp_path, TESTS, fake)
    assert "3 passed" in said, said
    assert sorted(fake.orchestrator.tasks) == ["from-async", "from-sync"]


async def test_a_session_that_uses_none_imports_no_grpc(fake: Fake, tmp_path: Path) -> None:
    said = await session(tmp_path, UNUSED, fake)
    assert "1 passed" in said, said
