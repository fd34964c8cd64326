"""Against the real daemon, with real containers and a real Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from env_manager import (
    AgentInfra,
    AlreadyExists,
    InvalidArgument,
    NotFound,
    NotReady,
    PreconditionFailed,
    ResourceExhausted,
    Unavailable,
    Worker,
    WrongStack,
)

from . import handlers
from .rig import Rig, runs
from .test_worker import appears, handler, outcome

pytestmark = pytest.mark.daemon


async def test_start_brings_required_services_up_and_leaves_them(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.service("redis")
    rig.service("web", "dependsOn: [redis]")
    rig.service("extra", "required: false\nprobes: { startup: { exec: { command: ['false'] }, deadline: 300s } }")
    async with AgentInfra.start() as infra:
        health = await infra.health_check()
        assert health["healthy"], health
        assert health["services"].items() >= {"redis": "ready", "web": "ready", "task_queue": "ready"}.items()
        assert health["services"]["extra"] != "ready"
        now = await anext(infra.watch())
        assert (now.stack, now.source) == (rig.stack, str(rig.manifests))
        assert not now.converged
        with pytest.raises(NotReady, match="extra: "):
            await infra.wait_healthy("extra", timeout=0.2)
    said = capsys.readouterr().err
    assert "Starting DSPy Environment Manager" in said
    assert "gRPC server" in said
    assert sorted(rig.containers())[1:] == [f"{rig.stack}-redis", f"{rig.stack}-web"]
    assert runs(rig.pid), "the daemon stays"
    pid = rig.pid
    async with AgentInfra.start():
        assert rig.pid == pid, "the next program finds it"
    rig.stop()
    async with AgentInfra.start(stop_on_exit=True):
        pid = rig.pid
    assert not runs(pid)
    assert len(rig.containers()) == 3, "containers stay"


async def test_what_does_not_become_ready_is_named_with_the_daemons_reason(rig: Rig) -> None:
    rig.service("redis")
    rig.service("sick", "probes: { startup: { exec: { command: ['false'] }, deadline: 300s } }")
    with pytest.raises(NotReady, match="sick: Starting") as caught:
        await AgentInfra.start(service_timeout=3)
    assert list(caught.value.services) == ["sick"]


async def test_two_at_once_get_one_daemon_and_another_stack_is_refused(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = await asyncio.gather(AgentInfra.start(), AgentInfra.start())
    assert first.reconciler.address == second.reconciler.address
    with pytest.raises(WrongStack, match="keeps the manifests in"):
        await AgentInfra.start(workspace=tmp_path)
    monkeypatch.setenv("ENV_MANAGER_GRPC_ADDR", first.reconciler.address)
    monkeypatch.setenv("ENV_MANAGER_STACK", "em-test-py-somebody")
    with pytest.raises(WrongStack, match=f"keeps stack {rig.stack}"):
        await AgentInfra.start()
    await first.stop()
    await second.stop()


async def test_a_configuration_that_is_wrong_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENV_MANAGER_RESYNC", "soon")
    with pytest.raises(Exception, match="ENV_MANAGER_RESYNC"):
        await AgentInfra.start()


async def test_tasks_are_submitted_worked_on_and_told(rig: Rig, tmp_path: Path) -> None:
    async with AgentInfra.start() as infra:
        async with Worker([handler(), handler(handlers.do_async, "loop", 2, "gpu_long")]):
            value = {"n": 1, "f": 1.5, "none": None, "flag": True, "list": [1, "zwei"]}
            assert (await infra.submit_task("a", value))["success"]
            assert await outcome(infra.orchestrator, "a") == ("completed", {"got": value})
            status = await infra.get_task_status("a")
            assert (status["status"], status["result_payload"]) == ("completed", {"got": value})
            assert (await infra.submit_task("a", value))["success"], "the same again"
            with pytest.raises(AlreadyExists):
                await infra.submit_task("a", {"n": 2})
            outcomes = await infra.submit_tasks(
                [{"task_id": f"g-{n}", "payload": {"n": n}, "task_class": "gpu"} for n in range(50)]
                + [{"task_id": "a", "payload": {}}, {"task_id": "no good id", "payload": {}}]
            )
            assert [one["success"] for one in outcomes] == [True] * 50 + [False] * 2
            results = [one async for one in infra.stream_task_results([f"g-{n}" for n in range(50)])]
            assert len(results) == 50
            assert all(one["status"] == "completed" for one in results)
            await infra.submit_task("b", {"raise": "permanent"})
            assert (await outcome(infra.orchestrator, "b"))[0] == "failed"
            details = await infra.orchestrator.describe_task("b")
            assert (details["attempts"], details["task_class"]) == (1, "cpu_short")
            await infra.submit_task("c", {"raise": "no luck"})
            assert (await outcome(infra.orchestrator, "c"))[0] == "failed"
            assert (await infra.orchestrator.describe_task("c"))["attempts"] == 5
            dead = [one["task_id"] async for one in infra.orchestrator.list_dead_tasks()]
            assert sorted(dead) == ["b", "c"]
            await infra.submit_task("d", {"block": str(tmp_path / "pid")})
            pid = int(await appears(tmp_path / "pid"))
            assert await infra.cancel_task("d", "not needed") == "running"
            assert (await outcome(infra.orchestrator, "d"))[0] == "cancelled"
            while runs(pid):
                await asyncio.sleep(0.01)
            await infra.submit_task("e", b"\x00")
            await outcome(infra.orchestrator, "e")
            seen: dict[str, list[str]] = {}
            async for event in infra.stream_events(since=1):
                seen.setdefault(event["resource_id"], []).append(event["event_type"])
                if event["resource_id"] == "e" and event["event_type"] == "task_failed":
                    break
        assert seen["a"] == ["task_submitted", "task_started", "task_completed"]
        assert seen["b"] == ["task_submitted", "task_started", "task_failed"]
        assert "task_cancelled" in seen["d"]
        metrics = await infra.get_metrics()
        assert metrics["env_queue_depth"] == 0
        assert isinstance(metrics["env_queue_depth"], int)
        assert "gpu_wait_seconds" in metrics
        with pytest.raises(NotFound):
            await infra.get_task_status("nobody")
        with pytest.raises(InvalidArgument):
            await infra.submit_task("no good id", {})
        with pytest.raises(InvalidArgument, match="cpu_short"):
            await infra.submit_task("x", {}, "cpu_shrt")
        with pytest.raises(ResourceExhausted):
            await infra.submit_task("x", "x" * (2 << 20))
        with pytest.raises(PreconditionFailed):
            await infra.cancel_task("a")
        await infra.orchestrator.requeue_task("b")
        assert (await infra.get_task_status("b"))["status"] == "pending"


async def test_work_goes_on_over_a_killed_daemon_and_a_killed_redis(rig: Rig, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    infra = await AgentInfra.start()
    async with Worker([handler()]):
        await infra.submit_task("a", {"wait for": str(gate)})
        await appears(tmp_path / "gate.begun")
        rig.stop(signal.SIGKILL)
        gate.touch()
        with pytest.raises(Unavailable):
            await infra.submit_task("b", {"n": 1}, timeout=2)
        rig.redis.kill()
        rig.redis.start()
        again = await AgentInfra.start()
        assert await outcome(infra.orchestrator, "a") == ("completed", "waited")
        assert (await again.orchestrator.describe_task("a"))["attempts"] == 1, "its answer came after the restart"
        await again.submit_task("b", {"n": 1})
        assert (await outcome(again.orchestrator, "b"))[0] == "completed"
    await infra.stop()
    await again.stop()


async def test_a_killed_workers_task_is_done_by_another(rig: Rig, tmp_path: Path) -> None:
    async with AgentInfra.start() as infra:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        killed = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "env_manager", "worker", "tests.blocking", "--lease", "1", env=environment
        )
        file = tmp_path / "pid"
        await infra.submit_task("a", {"block": str(file)})
        await appears(file)
        killed.kill()
        await killed.wait()

        def do(payload: Any, context: Any) -> Any:
            return context.attempt

        async with Worker([handler(do, "thread")]):
            assert await outcome(infra.orchestrator, "a") == ("completed", 2)


async def test_a_drained_worker_gives_back_what_does_not_end(rig: Rig, tmp_path: Path) -> None:
    async with AgentInfra.start() as infra:
        async with Worker([handler()], grace=0.1):
            await infra.submit_task("a", {"block": str(tmp_path / "pid")})
            await appears(tmp_path / "pid")
        details = await infra.orchestrator.describe_task("a")
        assert (details["status"], details["attempts"]) == ("pending", 0)


async def test_what_takes_longer_than_its_class_may_is_ended(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENV_MANAGER_TASKS_CPU_SHORT_TIME_LIMIT", "1s")
    monkeypatch.setenv("ENV_MANAGER_TASKS_CPU_SHORT_MAX_ATTEMPTS", "1")
    async with AgentInfra.start() as infra, Worker([handler()]):
        await infra.submit_task("a", {"block": str(tmp_path / "pid")})
        status, error = await outcome(infra.orchestrator, "a")
        assert status == "failed"
        print(error)
        assert not runs(int((tmp_path / "pid").read_text()))
