"""`AgentInfra`: its three forms, finding a daemon, waiting for services."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import pytest

import env_manager
from env_manager import AgentInfra, InvalidArgument, NotReady, Unavailable, WrongStack
from env_manager.sync import AgentInfra as SyncInfra

from .fakes import Fake, Refusal, served


@pytest.fixture
def found(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A daemon that is where the variables say."""
    monkeypatch.setenv("ENV_MANAGER_GRPC_ADDR", fake.address)
    monkeypatch.setenv("ORCHESTRATOR_GRPC_ADDR", fake.address)
    return fake


async def in_block() -> AgentInfra:
    async with AgentInfra.start() as infra:
        assert (await infra.submit_task("t-1", {"n": 1}))["success"]
        return infra


async def awaited() -> AgentInfra:
    infra = await AgentInfra.start()
    assert (await infra.submit_task("t-1", {"n": 1}))["success"]
    await infra.stop()
    return infra


async def of_an_instance() -> AgentInfra:
    infra = AgentInfra()
    assert await infra.start() is infra
    assert (await infra.submit_task("t-1", {"n": 1}))["success"]
    await infra.stop()
    return infra


async def start_async() -> AgentInfra:
    infra = AgentInfra()
    assert await infra.start_async() is infra
    assert (await infra.submit_task("t-1", {"n": 1}))["success"]
    await infra.stop()
    return infra


async def start_context() -> AgentInfra:
    async with AgentInfra.start_context() as infra, AgentInfra() as other:
        assert (await infra.submit_task("t-1", {"n": 1}))["success"]
        assert other.is_started
        return infra


@pytest.mark.parametrize("form", [in_block, awaited, of_an_instance, start_async, start_context])
async def test_every_form_of_start_works(found: Fake, form: Callable[[], Awaitable[AgentInfra]]) -> None:
    await found.reconciler.set("redis", ready=True)
    infra = await form()
    assert not infra.is_started
    assert "t-1" in found.orchestrator.tasks


def test_start_has_the_signature_that_was_promised() -> None:
    for start in (AgentInfra.start, AgentInfra().start):
        names = list(inspect.signature(start).parameters.values())
        assert [p.name for p in names[:4]] == ["orchestrator_addr", "workspace", "auto_start_services", "cli_path"]
        assert [p.default for p in names[:4]] == [None, None, True, None]
        assert all(p.kind is p.KEYWORD_ONLY for p in names[4:])
    assert "daemon" in (AgentInfra.start.__doc__ or "")


async def test_an_instance_keeps_what_it_was_made_with(found: Fake) -> None:
    infra = AgentInfra(found.address, service_timeout=7.0)
    await infra.start(stop_on_exit=True)
    assert (infra.orchestrator_addr, infra.service_timeout, infra.stop_on_exit) == (found.address, 7.0, True)
    await infra.stop()


async def test_it_waits_until_required_services_are_ready(found: Fake) -> None:
    await found.reconciler.set("redis", ready=False, phase="Starting")
    await found.reconciler.set("ollama", ready=False, phase="BackOff", required=False)
    starting = asyncio.ensure_future(AgentInfra.start().__aenter__())
    while not found.reconciler.calls["WatchConvergence"]:
        await asyncio.sleep(0)
    assert not starting.done()
    await found.reconciler.set("redis", ready=True)
    infra = await starting
    await infra.stop()


async def test_services_that_do_not_become_ready_are_named_with_their_reason(
    found: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    await found.reconciler.set("redis", ready=True)
    await found.reconciler.set("reddb", ready=False, phase="BackOff", message="exited with code 1")
    await found.reconciler.set("ollama", ready=False, phase="Pulling", required=False)
    monkeypatch.setenv("DSPY_AGENT_SERVICE_TIMEOUT", "0.1")
    with pytest.raises(NotReady, match="reddb: BackOff: exited with code 1") as caught:
        await AgentInfra.start()
    assert list(caught.value.services) == ["reddb"]
    assert isinstance(caught.value, TimeoutError)
    # Without waiting it is taken as it is.
    infra = await AgentInfra.start(auto_start_services=False)
    with pytest.raises(NotReady, match="ollama: Pulling"):
        await infra.wait_healthy("redis", "ollama", timeout=0.1)
    with pytest.raises(NotReady, match="nobody: there is no service of that name"):
        await infra.wait_healthy("nobody", timeout=0.1)
    await infra.wait_healthy("redis", timeout=20)
    await infra.stop()


async def test_manifests_that_are_not_read_yet_are_not_ready(found: Fake) -> None:
    found.reconciler.revision = ""
    with pytest.raises(NotReady, match="are not read"):
        await AgentInfra.start(service_timeout=0.1)


async def test_another_stack_or_folder_is_refused(found: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found.reconciler.stack = "other"
    with pytest.raises(WrongStack, match="keeps stack other, not default"):
        await AgentInfra.start()
    monkeypatch.setenv("ENV_MANAGER_STACK", "other")
    await (await AgentInfra.start()).stop()
    found.reconciler.source = str(tmp_path / "elsewhere")
    (tmp_path / "here" / "manifests").mkdir(parents=True)
    with pytest.raises(WrongStack, match="elsewhere"):
        await AgentInfra.start(workspace=tmp_path / "here")
    monkeypatch.setenv("ENV_MANAGER_MANIFESTS", str(tmp_path / "third"))
    with pytest.raises(WrongStack, match="elsewhere"):
        await AgentInfra.start()
    found.reconciler.source = str(tmp_path / "third")
    await (await AgentInfra.start()).stop()


async def test_something_else_at_the_address_is_no_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    monkeypatch.setenv("ENV_MANAGER_GRPC_ADDR", f"127.0.0.1:{port}")
    with pytest.raises(WrongStack, match="is no env-manager"):
        await AgentInfra.start()
    await server.stop(None)


async def test_nothing_is_looked_for_where_that_is_switched_off(monkeypatch: pytest.MonkeyPatch, fake: Fake) -> None:
    monkeypatch.setenv("DSPY_AGENT_SKIP_START", "1")
    async with AgentInfra.start(fake.address) as infra:
        await infra.submit_task("t", {})
    assert not fake.reconciler.calls
    monkeypatch.setenv("DSPY_AGENT_SKIP_START", "perhaps")
    with pytest.raises(InvalidArgument, match="DSPY_AGENT_SKIP_START is `perhaps`"):
        await AgentInfra.start()


async def test_without_a_daemon_and_without_starting_one_it_says_so() -> None:
    async with served() as gone:
        address = gone.address
    infra = AgentInfra(auto_start_services=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENV_MANAGER_GRPC_ADDR", address)
        with pytest.raises(Unavailable, match=f"no daemon answers at {address}"):
            await infra.start()


async def test_health_is_of_services_and_queue_and_tells_instead_of_raising(found: Fake) -> None:
    await found.reconciler.set("redis", ready=True)
    async with AgentInfra.start() as infra:
        assert await infra.health_check() == {
            "healthy": True, "version": "0.1.0", "services": {"redis": "ready", "task_queue": "ready"},
        }  # fmt: skip
        found.orchestrator.healthy = False
        health = await infra.health_check()
        assert not health["healthy"]
        assert health["services"]["task_queue"] == "durability: always; redis: connection refused"
        found.orchestrator.healthy = True
        await found.reconciler.set("redis", ready=False, phase="Starting")
        assert (await infra.health_check())["services"]["redis"] == "starting"
        assert not (await infra.health_check())["healthy"]
        await found.server.stop(None)
        health = await infra.health_check(timeout=2)
        assert not health["healthy"]
        assert "GetHealth" in health["services"]["env-manager"]


async def test_metrics_have_the_programs_own_among_them(found: Fake) -> None:
    async with AgentInfra.start() as infra:
        await infra.record_metric("loss", 0.5)
        assert await infra.get_metrics() == {
            "env_queue_depth": 0, "gpu_wait_seconds": 0, "env_error_rate": 0.25, "loss": 0.5,
        }  # fmt: skip
        assert await infra.get_metrics("loss") == {"loss": 0.5}


async def test_watching_tells_the_whole_after_each_change_and_over_a_restart(found: Fake) -> None:
    await found.reconciler.set("redis", ready=True)
    async with AgentInfra.start() as infra:
        watching: AsyncIterator[env_manager.Convergence] = infra.watch()
        assert (await anext(watching)).converged
        await found.reconciler.set("kafka", ready=False, phase="Pulling", required=False)
        now = await anext(watching)
        assert (now.converged, now.healthy, sorted(now.services)) == (False, True, ["kafka", "redis"])
        # A service is gone when the daemon comes back, and nobody says so.
        await found.reconciler.set("gone", ready=True)
        assert "gone" in (await anext(watching)).services
        del found.reconciler.services["gone"]
        found.reconciler.refusals = [Refusal(grpc.StatusCode.UNAVAILABLE, "it is ending", retry_after=0.01)]
        await found.reconciler.set("kafka", ready=True)
        while not (now := await anext(watching)).converged:
            pass
        assert now.services["kafka"].ready
        while "gone" in now.services:
            now = await anext(watching)


async def test_the_whole_program_can_share_one(found: Fake) -> None:
    first, second = await asyncio.gather(env_manager.ensure_infra(), env_manager.ensure_infra())
    assert first is second
    async with env_manager.use_infra() as third:
        assert third is first
    assert first.is_started
    await env_manager.shutdown_infra()
    await env_manager.shutdown_infra()
    assert not first.is_started
    async with env_manager.orchestrator_client() as client:
        assert (await client.health_check())["healthy"]


async def test_the_synchronous_client_works_under_a_running_loop(found: Fake) -> None:
    await found.reconciler.set("redis", ready=True)

    def program() -> list[str]:
        with SyncInfra.start() as infra:
            infra.submit_tasks([{"task_id": name} for name in "abc"])
            assert infra.health_check()["healthy"]
            infra.record_metric("n", 2.0)
            assert infra.get_metrics("n") == {"n": 2.0}
            assert infra.cancel_task("a") == "pending"
            found.orchestrator.tasks["b"].status = found.orchestrator.tasks["c"].status = "completed"
            assert next(infra.watch()).healthy
            infra.wait_healthy("redis", timeout=20)
            assert infra.wait_task("b", timeout=20)["status"] == "completed"
            return [result["task_id"] for result in infra.stream_task_results(["a", "b", "c"])]

    assert sorted(await asyncio.to_thread(program)) == ["a", "b", "c"]
    shared = await asyncio.to_thread(env_manager.ensure_infra_sync)
    assert (await asyncio.to_thread(shared.get_task_status, "a"))["status"] == "cancelled"
    await asyncio.to_thread(env_manager.shutdown_infra_sync)
