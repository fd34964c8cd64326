"""Starting a daemon: a program of the tests stands in for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from env_manager import AgentInfra, BinaryNotFound, DaemonFailed, NotReady, WrongStack, WrongVersion, binary

from .fakes import served

HERE = Path(__file__).resolve().parent


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`env-manager`, for this test; whatever it started is ended."""
    path = tmp_path / "env-manager"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "fake_daemon.py"}" "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("ENV_MANAGER_BIN", str(path))
    monkeypatch.setenv("ENV_MANAGER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ENV_MANAGER_GRPC_ADDR", "127.0.0.1:0")
    monkeypatch.setenv("FAKE_STARTS", str(tmp_path / "starts"))
    monkeypatch.delenv("FAKE_FAILS", raising=False)
    yield path
    for pid in pids(tmp_path):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def starts(folder: Path) -> list[list[str]]:
    file = folder / "starts"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def pids(folder: Path) -> list[int]:
    return [int(words[0]) for words in starts(folder)]


def runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


async def test_a_daemon_is_started_shown_and_left(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with AgentInfra.start() as infra:
        assert (await infra.submit_task("t", {}))["success"]
        assert (await infra.health_check())["healthy"]
    said = capsys.readouterr().err
    assert "🚀 Starting DSPy Environment Manager" in said
    assert "🎉 Startup complete" in said
    ((pid, session, _),) = starts(tmp_path)
    assert pid == session, "it is in a session of its own"
    assert runs(int(pid))
    # The next one finds it, and does not show its log again.
    async with AgentInfra.start() as infra:
        assert (await infra.get_task_status("t"))["status"] == "pending"
    assert len(starts(tmp_path)) == 1
    assert capsys.readouterr().err == ""


async def test_two_programs_at_once_get_one_daemon(program: Path, tmp_path: Path) -> None:
    code = (
        "import asyncio; from env_manager import AgentInfra\n"
        "async def main():\n"
        "    async with AgentInfra.start() as infra: print((await infra.submit_task(None, {}))['success'])\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    programs = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for _ in range(4)
    ]
    said = await asyncio.gather(*(one.communicate() for one in programs))
    assert [out for out, _ in said] == [b"True\n"] * 4
    assert len(starts(tmp_path)) == 1
    assert runs(pids(tmp_path)[0]), "it outlives the programs"


async def test_stop_on_exit_ends_only_what_was_started(program: Path, tmp_path: Path) -> None:
    async with AgentInfra.start():
        async with AgentInfra.start(stop_on_exit=True):
            pass
        assert runs(pids(tmp_path)[0]), "somebody else has started it"
    os.kill(pids(tmp_path)[0], signal.SIGTERM)
    while runs(pids(tmp_path)[0]):
        await asyncio.sleep(0.01)
    async with AgentInfra.start(stop_on_exit=True):
        assert runs(pids(tmp_path)[1])
    assert not runs(pids(tmp_path)[1])


async def test_one_that_fails_is_told_at_once_with_its_last_lines(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAILS", "error: unknown key `gprc_addr`")
    with pytest.raises(DaemonFailed, match="unknown key `gprc_addr`") as caught:
        await AgentInfra.start()
    assert caught.value.exit_code == 4
    assert caught.value.lines[-1] == "error: unknown key `gprc_addr`"


async def test_a_daemon_without_its_services_stays_when_start_gives_up(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_UNREADY", "1")
    with pytest.raises(NotReady, match="redis: Starting"):
        await AgentInfra.start(service_timeout=0.2)
    assert runs(pids(tmp_path)[0])


async def test_the_workspace_is_where_it_starts_and_whose_manifests_it_keeps(program: Path, tmp_path: Path) -> None:
    (tmp_path / "w" / "manifests").mkdir(parents=True)
    async with AgentInfra.start(workspace=tmp_path / "w"):
        assert starts(tmp_path)[0][2] == str(tmp_path / "w")
    (tmp_path / "v").mkdir()
    with pytest.raises(WrongStack):
        await AgentInfra.start(workspace=tmp_path / "v")
    assert len(starts(tmp_path)) == 1


async def test_a_dead_daemons_file_is_no_daemon(program: Path, tmp_path: Path) -> None:
    home = tmp_path / "state" / "default"
    home.mkdir(parents=True)
    (home / "daemon.json").write_text(json.dumps({"pid": 1, "grpc": "127.0.0.1:1"}))
    async with AgentInfra.start(stop_on_exit=True):
        assert len(starts(tmp_path)) == 1
    # Its port is another stack's by now.
    async with served() as other:
        other.reconciler.stack = "other"
        (home / "daemon.json").write_text(json.dumps({"pid": 1, "grpc": other.address}))
        async with AgentInfra.start(stop_on_exit=True) as infra:
            assert infra.reconciler.address != other.address
            assert len(starts(tmp_path)) == 2


async def test_a_daemon_without_a_task_queue_is_well_without_it(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NO_QUEUE", "1")
    monkeypatch.setenv("ORCHESTRATOR_GRPC_ADDR", "127.0.0.1:0")
    async with AgentInfra.start(stop_on_exit=True) as infra:
        health = await infra.health_check()
        assert (health["healthy"], health["services"]) == (True, {"redis": "ready", "task_queue": "off"})


async def test_a_program_is_looked_for_where_it_is_said(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert binary.find() == program
    monkeypatch.setenv("DSPY_AGENT_CLI_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(BinaryNotFound, match="DSPY_AGENT_CLI_PATH is"):
        binary.find()
    assert binary.find(program) == program
    monkeypatch.delenv("DSPY_AGENT_CLI_PATH")
    monkeypatch.delenv("ENV_MANAGER_BIN")
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(binary, "_candidates", lambda: iter([tmp_path / "nowhere", program]))
    assert binary.find() == program
    monkeypatch.setattr(binary, "_candidates", lambda: iter([tmp_path / "nowhere"]))
    with pytest.raises(BinaryNotFound, match="pip install"):
        await AgentInfra.start()


def test_a_program_of_another_version_is_passed_over_or_refused(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary, "package_version", lambda: "0.1.7")
    assert binary.find() == program, "they differ in the last number only"
    monkeypatch.setenv("FAKE_VERSION", "0.2.0")
    with pytest.raises(WrongVersion, match=r"of version 0\.2\.0, this package of 0\.1\.7"):
        binary.find()
    monkeypatch.delenv("ENV_MANAGER_BIN")
    monkeypatch.setattr(binary, "_candidates", lambda: iter([program]))
    with pytest.raises(WrongVersion):
        binary.find()


async def test_one_that_ends_while_services_are_waited_for_is_told_at_once(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_UNREADY", "1")
    infra = AgentInfra(service_timeout=600)
    starting = asyncio.ensure_future(infra.start_async())
    while infra._daemon is None:
        await asyncio.sleep(0.01)
    os.kill(pids(tmp_path)[0], signal.SIGKILL)
    with pytest.raises(DaemonFailed, match="ended with -9"):
        await asyncio.wait_for(starting, 5)
