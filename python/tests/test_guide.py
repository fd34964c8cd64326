"""The blocks of the guide, and those of the old system's change log, run against the real daemon."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from env_manager.worker import handlers as registry

from .rig import Rig

pytestmark = pytest.mark.daemon

HERE = Path(__file__).resolve().parent
README = HERE.parent.parent / "README.md"
GUIDE = HERE.parent.parent / "docs/PYTHON_INTEGRATION_GUIDE.md"
CHANGES = HERE / "fixtures/seed/RUST_GO_CHANGES_LOG.md"


@dataclass(frozen=True)
class Block:
    file: Path
    #: Of the text's first line, from 1.
    line: int
    #: As it stands there.
    text: str
    #: The line above it that is not empty.
    above: str

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}"

    def compile(self) -> types.CodeType:
        # So that what goes wrong names the line of the page.
        text = "\n" * (self.line - 1) + self.text
        code = compile(text, str(self.file), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        assert isinstance(code, types.CodeType)
        return code


def blocks(file: Path) -> list[Block]:
    found = []
    text = file.read_text()
    for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        before = text[: match.start()].rstrip().rpartition("\n")[2]
        found.append(Block(file, text[: match.start(1)].count("\n") + 1, match.group(1), before))
    return found


def run(block: Block, namespace: dict[str, Any]) -> None:
    code = block.compile()
    result = eval(code, namespace)
    if code.co_flags & inspect.CO_COROUTINE:
        LOOP.run(result)


class Loop:
    """One loop for all blocks: what one has begun goes on in the next. A block that calls `asyncio.run` has its own."""

    def __init__(self) -> None:
        self.runner: asyncio.Runner | None = None

    def run(self, work: Any) -> None:
        if self.runner is None:
            self.runner = asyncio.Runner()
        self.runner.run(work)

    def close(self) -> None:
        if self.runner is not None:
            self.runner.close()
        self.runner = None


LOOP = Loop()


@pytest.fixture(autouse=True)
def loop() -> Iterator[None]:
    yield
    LOOP.close()


def test_the_guide_has_blocks_of_every_kind() -> None:
    found = blocks(GUIDE)
    assert len(found) >= 15
    assert {block.above for block in found} >= {"<!-- old -->", "<!-- file: my_tasks.py -->", "<!-- tests -->"}


def test_the_guide_is_true(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.service("redis")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "REGISTERED", {})
    found = blocks(GUIDE)
    for block in found:
        if block.above.startswith("<!-- file:"):
            (tmp_path / block.above.split()[2]).write_text(block.text)
    importlib.invalidate_caches()
    namespace: dict[str, Any] = {"__name__": "guide"}
    waiting: Block | None = None
    for block in found:
        if block.above == "<!-- old -->":
            block.compile()
        elif block.above == "With a [worker](#workers) at work:":
            waiting = block  # told before the page comes to workers
        elif block.above == "<!-- tests -->":
            tests = tmp_path / "tests"
            tests.mkdir()
            (tests / "test_block.py").write_text(block.text)
            (tests / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
            command = [sys.executable, "-m", "pytest", "-q", "-p", "env_manager.pytest_plugin", str(tests)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            ran = subprocess.run(command, cwd=tests, env=environment, capture_output=True, text=True, check=False)
            assert "2 passed" in ran.stdout, ran.stdout + ran.stderr
        elif not block.above.startswith("<!--"):
            run(block, namespace)
            if "Worker(" in block.text and waiting is not None:
                run(waiting, namespace)
                waiting = None
    assert waiting is None
    said = capsys.readouterr().out
    assert "True {'redis': 'ready', 'task_queue': 'ready'}" in said
    assert "UNAVAILABLE" in said


def test_the_readme_is_true(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.service("redis")
    (block,) = blocks(README)
    run(block, {"__name__": "readme"})
    said = capsys.readouterr().out
    assert "'healthy': True" in said
    assert "'status': 'pending'" in said


class KafkaProducer:
    """Stands in for kafka-python's, which the log's blocks name."""

    made: list[Any] = []  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        self.made.append(options)


def test_the_old_systems_examples_run_as_they_were_written(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text untouched, in order, in one namespace. The log's first block uses a name that later ones import, so it is
    there from the beginning."""
    rig.service("redis")
    for variable in ("ENV_MANAGER_VERBOSE", "ENV_MANAGER_HEALTH_TIMEOUT"):
        monkeypatch.setenv(variable, os.environ.get(variable, ""))  # put back afterwards
    found = blocks(CHANGES)
    assert [block.line for block in found] == [36, 208, 217, 233, 244, 261, 270, 319, 345, 370]
    namespace: dict[str, Any] = {"__name__": "log", "KafkaProducer": KafkaProducer}
    exec("from dspy_agent.infra import AgentInfra", namespace)
    KafkaProducer.made.clear()
    for block in found:
        if block.above.startswith("**Old Code**"):
            block.compile()
        else:
            run(block, namespace)
    said = capsys.readouterr()
    assert "🚀 Starting DSPy Environment Manager v0.1.0" in said.err
    assert "✓ Docker connection successful" in said.err
    assert "Healthy: {'healthy': True, 'version': '0.1.0'" in said.out
    assert "'env_queue_depth': 1" in said.out, "task-1 waits: nobody works here"
    assert "'gpu_wait_seconds': 0" in said.out
    assert "Submitted: {'success': True, 'task_id': 'test-123', 'error': None}" in said.out
    assert "Status: {'task_id': 'test-123', 'status': 'pending'" in said.out
    assert KafkaProducer.made == [{"bootstrap_servers": "localhost:9092"}]
