from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from . import fakes
from .rig import Rig, rigged

OURS = ("ENV_MANAGER_", "DSPY_AGENT_", "ORCHESTRATOR_")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the daemon, the files or the variables of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(OURS) and not name.startswith("ENV_MANAGER_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("DSPY_AGENT_RECONNECT_BACKOFF", "0.02")


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[fakes.Fake]:
    async with fakes.served() as server:
        yield server


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A real daemon's place: nothing is started yet but Redis."""
    name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:8]
    with rigged(tmp_path, monkeypatch, name) as rig:
        yield rig
