"""Workers, against the fake: leases, answers, deaths, drains."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from env_manager import HandlerError, OrchestratorClient, PermanentError, Worker, task_handler
from env_manager.v1 import orchestrator_pb2
from env_manager.worker import handlers as registry
from env_manager.worker.handlers import Handler, Where

from . import handlers
from .fakes import Fake, Refusal

pb: Any = orchestrator_pb2
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def handler(
    function: Callable[..., Any] = handlers.do, where: Where = "process", size: int = 1, name: str = "cpu_short"
) -> Handler:
    return Handler(name, function, where, size, f"{function.__module__}:{function.__qualname__}")


@contextlib.asynccontextmanager
async def working(fake: Fake, *chosen: Handler, **options: Any) -> AsyncIterator[OrchestratorClient]:
    """A worker, and a client to give it tasks."""
    async with (
        Worker(chosen or [handler()], address=fake.address, **{"grace": 0.2, **options}),
        OrchestratorClient(fake.address) as client,
    ):
        yield client


async def appears(file: Path) -> str:
    async with asyncio.timeout(20):
        while not (file.exists() and file.read_text()):
            await asyncio.sleep(0.005)
    return file.read_text()


async def outcome(client: OrchestratorClient, task_id: str) -> tuple[str, Any]:
    result = await client.wait_task(task_id, timeout=30)
    return result["status"], result["result_payload"] if result["status"] == "completed" else result["error"]


def runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


async def test_tasks_are_worked_on_with_their_types_kept(fake: Fake, tmp_path: Path) -> None:
    async with working(fake) as client:
        value = {"n": 1, "f": 1.5, "none": None, "flag": True, "list": [1, "zwei"], "ü": "ß"}
        await client.submit_task("a", value)
        assert await outcome(client, "a") == ("completed", {"got": value})
        await client.submit_task("b", b"\x00\x01")
        assert (await outcome(client, "b"))[0] == "failed", "a handler's result with bytes inside is not JSON"
        await client.submit_task("c", {"bytes": True})
        assert await outcome(client, "c") == ("completed", b"\x00\xff")
        fake.orchestrator.tasks["d"] = type(fake.orchestrator.tasks["a"])(
            pb.SubmitTaskRequest(id="d", payload={"x": "1"})
        )
        fake.orchestrator._deal()
        assert await outcome(client, "d") == ("completed", {"got": {"x": "1"}}), "an old client's map"
        await client.submit_task("e", {"context": True})
        task_id, name, attempt, attempts, pid = (await outcome(client, "e"))[1]
        assert (task_id, name, attempt, attempts) == ("e", "cpu_short", 1, 3)
        assert pid != os.getpid()
        (stream,) = fake.orchestrator.streams
        assert stream.hello.worker_id.endswith(f":{os.getpid()}")


@pytest.mark.parametrize("where", ["process", "thread"])
async def test_what_fails_is_told_and_tried_again_only_where_that_helps(fake: Fake, where: Where) -> None:
    def plain(payload: Any) -> Any:
        match payload:
            case {"raise": "permanent"}:
                raise PermanentError("it cannot be")
            case {"raise": words}:
                raise ValueError(words)
            case {"nan": True}:
                return {"loss": float("nan")}
        return {"got": payload}

    async with working(fake, handler(handlers.do if where == "process" else plain, where)) as client:
        await client.submit_task("a", {"raise": "no luck"})
        status, error = await outcome(client, "a")
        assert status == "failed"
        assert error.startswith("ValueError: no luck\n")
        assert "in do" in error or "in plain" in error
        assert fake.orchestrator.tasks["a"].attempts == 3
        await client.submit_task("b", {"raise": "permanent"})
        status, error = await outcome(client, "b")
        assert error.startswith("env_manager.errors.PermanentError: it cannot be")
        assert fake.orchestrator.tasks["b"].attempts == 1
        await client.submit_task("c", {"nan": True})
        assert await outcome(client, "c") == (
            "failed", "the handler's result is not JSON: $.loss is nan, and JSON has no such number",
        )  # fmt: skip
        await client.submit_task("d", {"after": "all that"})
        assert (await outcome(client, "d"))[0] == "completed"


@pytest.mark.parametrize("where", ["process", "thread", "loop"])
async def test_no_credit_leaks_when_handlers_raise(fake: Fake, where: Where) -> None:
    def plain(payload: Any) -> Any:
        raise ValueError("always")

    function: Any = {"process": handlers.do, "thread": plain, "loop": handlers.do_async}[where]
    async with working(fake, handler(function, where, size=2)) as client:
        for n in range(30):
            await client.submit_task(f"t-{n}", {"raise": "always"})
        for n in range(30):
            assert (await outcome(client, f"t-{n}"))[0] == "failed"
        (stream,) = fake.orchestrator.streams
        await fake.orchestrator.until(lambda: stream.credit["cpu_short"] == 2)
        assert stream.given["cpu_short"] == 30 * 3 + 2


@pytest.mark.parametrize(
    ("payload", "words"),
    [({"exit": 3}, "exit code 3"), ({"signal": signal.SIGKILL}, "SIGKILL"), ({"signal": signal.SIGSEGV}, "SIGSEGV")],
)
async def test_a_process_that_dies_fails_its_attempt_and_is_replaced(fake: Fake, payload: Any, words: str) -> None:
    async with working(fake) as client:
        await client.submit_task("a", payload)
        status, error = await outcome(client, "a")
        assert status == "failed"
        assert words in error
        assert fake.orchestrator.tasks["a"].attempts == 3
        await client.submit_task("b", {"n": 1})
        assert (await outcome(client, "b"))[0] == "completed"


async def test_a_cancelled_task_has_its_process_killed(fake: Fake, tmp_path: Path) -> None:
    async with working(fake) as client:
        await client.submit_task("a", {"block": str(tmp_path / "pid")})
        pid = int(await appears(tmp_path / "pid"))
        assert await client.cancel_task("a", "not needed") == "running"
        await client.submit_task("b", {"n": 1})
        assert (await outcome(client, "b"))[0] == "completed"
        assert not runs(pid)
    assert fake.orchestrator.calls["FailTask"] + fake.orchestrator.calls["ReleaseTask"] == 0


@pytest.mark.parametrize("extension", [pb.EXTENSION_LOST, pb.EXTENSION_CANCEL])
async def test_a_heartbeat_that_says_so_ends_the_work(fake: Fake, tmp_path: Path, extension: int) -> None:
    fake.orchestrator.lease_ms = 300
    async with working(fake) as client:
        await client.submit_task("a", {"block": str(tmp_path / "pid")})
        pid = int(await appears(tmp_path / "pid"))
        await fake.orchestrator.until(lambda: fake.orchestrator.tasks["a"].extended >= 3)
        assert runs(pid)
        fake.orchestrator.extensions["a"] = extension
        await client.submit_task("b", {"n": 1})
        assert (await outcome(client, "b"))[0] == "completed"
        assert not runs(pid)


async def test_a_cancelled_async_task_is_cancelled(fake: Fake, tmp_path: Path) -> None:
    async with working(fake, handler(handlers.do_async, "loop")) as client:
        await client.submit_task("a", {"block": str(tmp_path / "state")})
        assert await appears(tmp_path / "state") == "begun"
        await client.cancel_task("a")
        await client.submit_task("b", {"n": 1})
        assert await outcome(client, "b") == ("completed", {"got": {"n": 1}})
        assert (tmp_path / "state").read_text() == "cancelled"


async def test_a_cancelled_thread_is_told_and_keeps_its_slot_until_it_returns(fake: Fake) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def plain(payload: Any, context: Any) -> Any:
        if payload == "block":
            begun.set()
            context.cancelled.wait(20)
            go_on.wait(20)
        return payload

    async with working(fake, handler(plain, "thread")) as client:
        await client.submit_task("a", "block")
        await asyncio.to_thread(begun.wait, 20)
        await client.cancel_task("a")
        await client.submit_task("b", "next")
        (stream,) = fake.orchestrator.streams
        assert stream.credit["cpu_short"] == 0
        assert fake.orchestrator.tasks["b"].status == "pending"
        go_on.set()
        assert await outcome(client, "b") == ("completed", "next")


async def test_what_takes_longer_than_its_limit_is_killed_and_fails(fake: Fake, tmp_path: Path) -> None:
    fake.orchestrator.time_limit_ms = 300
    async with working(fake) as client:
        await client.submit_task("a", {"block": str(tmp_path / "pid")})
        status, error = await outcome(client, "a")
        assert (status, error) == ("failed", "it took longer than its class's time limit of 0.3 s")
        assert fake.orchestrator.tasks["a"].attempts == 3
        assert not runs(int((tmp_path / "pid").read_text()))


async def test_answers_outlive_the_stream_and_are_sent_until_they_are_heard(fake: Fake, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with working(fake) as client:
        await client.submit_task("a", {"wait for": str(gate)})
        await appears(tmp_path / "gate.begun")
        fake.orchestrator.refusals["CompleteTask"] = [Refusal(UNAVAILABLE, "Redis is away") for _ in range(9)]
        fake.orchestrator.losses["CompleteTask"] = 1
        await fake.orchestrator.break_streams()
        gate.touch()
        assert await outcome(client, "a") == ("completed", "waited")
        # The stream is back, with its credit.
        await client.submit_task("b", {"n": 1})
        assert (await outcome(client, "b"))[0] == "completed"
        # And once more, now that it was given credit that it has not used.
        (stream,) = fake.orchestrator.streams
        await fake.orchestrator.until(lambda: stream.credit["cpu_short"] == 1)
        await fake.orchestrator.break_streams()
        await client.submit_task("c", {"n": 1})
        assert (await outcome(client, "c"))[0] == "completed"
        assert fake.orchestrator.calls["CompleteTask"] >= 11
        assert fake.orchestrator.calls["LeaseTasks"] >= 2


async def test_a_result_that_the_daemon_will_not_have_fails_the_task(fake: Fake) -> None:
    async with working(fake) as client:
        fake.orchestrator.refusals["CompleteTask"] = [Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "over 1 MiB")]
        await client.submit_task("a", {"n": 1})
        status, error = await outcome(client, "a")
        assert status == "failed"
        assert "the result was refused" in error
        assert "over 1 MiB" in error
        assert fake.orchestrator.tasks["a"].attempts == 1


async def test_a_stale_answer_counts_for_nothing(fake: Fake, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with working(fake) as client:
        await client.submit_task("a", {"wait for": str(gate)})
        await appears(tmp_path / "gate.begun")
        fake.orchestrator.tasks["a"].token = "somebody else's"
        gate.touch()
        await client.submit_task("b", {"n": 1})
        assert (await outcome(client, "b"))[0] == "completed"
        assert fake.orchestrator.tasks["a"].status == "running"


async def test_a_lease_without_a_slot_is_given_back(fake: Fake, tmp_path: Path) -> None:
    async with working(fake) as client:
        await client.submit_task("a", {"block": str(tmp_path / "pid")})
        await appears(tmp_path / "pid")
        (stream,) = fake.orchestrator.streams
        await client.submit_task("b", {})
        await client.submit_task("g", {}, "gpu_long")
        fake.orchestrator.lease(stream, "b")
        fake.orchestrator.lease(stream, "g")
        tasks = fake.orchestrator.tasks
        await fake.orchestrator.until(lambda: tasks["b"].released == 1 and tasks["g"].released == 1)
        assert (tasks["b"].attempts, tasks["b"].status) == (0, "pending")


async def test_a_class_has_as_many_at_once_as_it_says(fake: Fake, tmp_path: Path) -> None:
    async with working(fake, handler(size=3), handler(handlers.Nested.do, name="gpu_short")) as client:
        for n in range(5):
            await client.submit_task(f"t-{n}", {"wait for": str(tmp_path / f"g{n}")})
        await client.submit_task("other", {"n": 1}, "gpu_short")
        assert await outcome(client, "other") == ("completed", {"nested": {"n": 1}})
        for n in range(3):
            await appears(tmp_path / f"g{n}.begun")
        assert [t.status for t in fake.orchestrator.tasks.values()][:5] == ["running"] * 3 + ["pending"] * 2
        for n in range(5):
            (tmp_path / f"g{n}").touch()
        for n in range(5):
            assert (await outcome(client, f"t-{n}"))[0] == "completed"
        slots = {getattr(s, "class"): s.slots for s in fake.orchestrator.streams[0].hello.slots}
        assert slots == {"cpu_short": 3, "gpu_short": 1}
    assert Worker([handler()], address=fake.address, concurrency={"cpu_short": 4})._handlers[0].concurrency == 4


async def test_a_drain_lets_tasks_end_and_takes_no_more(fake: Fake, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    worker = Worker([handler()], address=fake.address, grace=30)
    running = asyncio.create_task(worker.run(signals=False))
    async with OrchestratorClient(fake.address) as client:
        await client.submit_task("a", {"wait for": str(gate)})
        pid = int(await appears(tmp_path / "gate.begun"))
        worker.drain()
        await fake.orchestrator.until(lambda: all(s.drained for s in fake.orchestrator.streams))
        await client.submit_task("b", {})
        gate.touch()
        await running
        assert await outcome(client, "a") == ("completed", "waited")
        assert fake.orchestrator.tasks["b"].status == "pending"
        assert not runs(pid)


async def test_what_does_not_end_in_the_grace_is_given_back_and_counts_not(fake: Fake, tmp_path: Path) -> None:
    worker = Worker([handler()], address=fake.address, grace=0.1)
    running = asyncio.create_task(worker.run(signals=False))
    async with OrchestratorClient(fake.address) as client:
        await client.submit_task("a", {"block": str(tmp_path / "pid")})
        pid = int(await appears(tmp_path / "pid"))
        worker.drain()
        await running
    assert not runs(pid)
    task = fake.orchestrator.tasks["a"]
    assert (task.status, task.attempts, task.released) == ("pending", 0, 1)


async def test_a_drain_of_the_daemons_has_the_worker_come_back(fake: Fake) -> None:
    async with working(fake) as client:
        await fake.orchestrator.until(lambda: bool(fake.orchestrator.streams))
        fake.orchestrator.streams[0].out.put_nowait(pb.LeaseEvent(drain=pb.LeaseEvent.Drain(reason="it ends")))
        await fake.orchestrator.until(lambda: fake.orchestrator.calls["LeaseTasks"] == 2)
        await client.submit_task("a", {"n": 1})
        assert (await outcome(client, "a"))[0] == "completed"


async def test_a_handler_that_cannot_be_loaded_is_told_at_once(fake: Fake) -> None:
    lost = Handler("cpu_short", handlers.do, "process", 2, "tests.handlers:nowhere")
    with pytest.raises(HandlerError, match=r"tests\.handlers:nowhere is no function"):
        async with Worker([lost], address=fake.address):
            pass
    broken = Handler("cpu_short", handlers.do, "process", 1, "tests.not_there:do")
    with pytest.raises(HandlerError, match=r"No module named 'tests\.not_there'"):
        async with Worker([broken], address=fake.address):
            pass
    with pytest.raises(HandlerError, match="there is no handler"):
        Worker([], address=fake.address)


async def test_a_worker_that_is_killed_takes_its_processes_with_it(fake: Fake, tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text(
        "from env_manager import task_handler\n"
        "import asyncio, os, signal\n"
        "from pathlib import Path\n"
        "from env_manager import Worker\n"
        '@task_handler("cpu_short")\n'
        "def do(payload):\n"
        '    Path(payload["block"]).write_text(str(os.getpid()))\n'
        "    signal.pause()\n"
        'if __name__ == "__main__":\n'
        "    asyncio.run(Worker().run())\n"
    )
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "ORCHESTRATOR_GRPC_ADDR": fake.address,
    }  # fmt: skip
    worker = await asyncio.create_subprocess_exec(sys.executable, str(script), env=environment)
    async with OrchestratorClient(fake.address) as client:
        await client.submit_task("a", {"block": str(tmp_path / "pid")})
        pid = int(await appears(tmp_path / "pid"))
        worker.kill()
        await worker.wait()
        async with asyncio.timeout(20):
            while runs(pid):
                await asyncio.sleep(0.01)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Handler]:
    empty: dict[str, Handler] = {}
    monkeypatch.setattr(registry, "REGISTERED", empty)
    return empty


def test_where_a_handler_runs_follows_from_what_it_is(registered: dict[str, Handler]) -> None:
    task_handler("cpu_short", concurrency=3)(handlers.do)
    task_handler("gpu_slurm")(handlers.do_async)

    @task_handler("cpu_long")
    def inside(payload: Any) -> Any:
        return payload

    task_handler("gpu_short")(handlers.Nested.do)
    assert {name: (h.where, h.reference, h.concurrency) for name, h in registered.items()} == {
        "cpu_short": ("process", "tests.handlers:do", 3),
        "gpu_long": ("loop", "tests.handlers:do_async", 1),
        "cpu_long": ("thread", None, 1),
        "gpu_short": ("process", "tests.handlers:Nested.do", 1),
    }
    task_handler("cpu_short")(handlers.do)  # a module that is read again
    with pytest.raises(HandlerError, match=r"has the handler tests\.handlers\.do already"):
        task_handler("cpu_short")(handlers.Nested.do)
    with pytest.raises(HandlerError, match="no class `cpu_shrt`; there are cpu_short"):
        task_handler("cpu_shrt")
    with pytest.raises(HandlerError, match="the class is named"):
        task_handler(handlers.do)  # type: ignore[arg-type]
    with pytest.raises(HandlerError, match="at least 1"):
        task_handler("cpu_short", concurrency=0)
    with pytest.raises(HandlerError, match="cannot be imported by a process"):
        task_handler("cpu_long", where="process")(lambda payload: payload)
    with pytest.raises(HandlerError, match="is async: it cannot run in a thread"):
        task_handler("gpu_long", where="thread")(handlers.do_async)
