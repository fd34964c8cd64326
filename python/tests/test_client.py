"""The task queue's client, against the fake."""

from __future__ import annotations

import asyncio
import math
import os
from typing import Any

import grpc
import pytest

from env_manager import (
    AlreadyExists,
    DeadlineExceeded,
    ForkedProcess,
    InvalidArgument,
    NotFound,
    OrchestratorClient,
    PayloadError,
    PreconditionFailed,
    ResourceExhausted,
    Unavailable,
)
from env_manager.client import CHUNK_BYTES
from env_manager.reconciler import ReconcilerClient
from env_manager.rpc import Rpc
from env_manager.v1 import orchestrator_pb2, reconciler_pb2

from .fakes import Fake, Refusal, served

pb: Any = orchestrator_pb2
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


async def finish(fake: Fake, task_id: str, result: bytes = b"{}") -> None:
    fake.orchestrator.tasks[task_id].status = "completed"
    fake.orchestrator.tasks[task_id].result = {"result_json": result}
    await fake.orchestrator.tell()


async def test_a_submitted_task_has_the_shapes_of_the_old_package(fake: Fake) -> None:
    async with OrchestratorClient(fake.address) as client:
        assert await client.submit_task("t-1", {"data": "value"}) == {"success": True, "task_id": "t-1", "error": None}
        sent = fake.orchestrator.tasks["t-1"].request
        assert (sent.payload_json, getattr(sent, "class"), dict(sent.payload)) == (b'{"data":"value"}', "cpu_short", {})
        assert await client.get_task_status("t-1") == {
            "task_id": "t-1", "status": "pending", "result": {}, "result_payload": None, "error": None,
        }  # fmt: skip
        await finish(fake, "t-1", b'{"words":"as they are","n":1,"f":1.5,"l":[1]}')
        status = await client.get_task_status("t-1")
        assert status["result"] == {"words": "as they are", "n": "1", "f": "1.5", "l": "[1]"}
        assert status["result_payload"] == {"words": "as they are", "n": 1, "f": 1.5, "l": [1]}


async def test_an_id_is_made_where_none_is_given_and_kept_over_a_retry(fake: Fake) -> None:
    fake.orchestrator.losses["SubmitTask"] = 2
    async with OrchestratorClient(fake.address) as client:
        answer = await client.submit_task(None, {"n": 1})
    assert list(fake.orchestrator.tasks) == [answer["task_id"]]
    assert len(answer["task_id"]) == 32
    assert fake.orchestrator.calls["SubmitTask"] == 3


async def test_refusals_are_typed_and_say_why(fake: Fake) -> None:
    async with OrchestratorClient(fake.address) as client:
        await client.submit_task("t", {"n": 1})
        with pytest.raises(AlreadyExists, match="other content"):
            await client.submit_task("t", {"n": 2})
        with pytest.raises(NotFound, match="there is no task nobody") as caught:
            await client.get_task_status("nobody")
        assert isinstance(caught.value, LookupError)
        assert caught.value.code == "NOT_FOUND"
        for code, kind in [
            (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhausted),
            (grpc.StatusCode.FAILED_PRECONDITION, PreconditionFailed),
            (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgument),
        ]:
            fake.orchestrator.refusals["SubmitTask"] = [Refusal(code, "that is why", retry_after=1.5)]
            with pytest.raises(kind, match="that is why") as refused:
                await client.submit_task("u", {})
            assert refused.value.retry_after == 1.5


async def test_what_json_cannot_say_is_refused_before_it_is_sent(fake: Fake) -> None:
    async with OrchestratorClient(fake.address) as client:
        for value, words in [
            ({"loss": [1.0, math.nan]}, r"\$\.loss\[1\] is nan"),
            ({"a": {"b": math.inf}}, r"\$\.a\.b is inf"),
            ({"when": object()}, r"\$\.when is a object"),
            ({("a", "b"): 1}, r"a key of \$ is a tuple"),
        ]:
            with pytest.raises(PayloadError, match=words):
                await client.submit_task("t", value)
        itself: list[Any] = []
        itself.append(itself)
        with pytest.raises(PayloadError, match="holds itself"):
            await client.submit_task("t", itself)
    assert not fake.orchestrator.calls


async def test_bytes_travel_as_they_are(fake: Fake) -> None:
    async with OrchestratorClient(fake.address) as client:
        await client.submit_task("t", b"\x00\xff")
        assert fake.orchestrator.tasks["t"].request.payload_bytes == b"\x00\xff"
        fake.orchestrator.tasks["t"].status = "completed"
        fake.orchestrator.tasks["t"].result = {"result_bytes": b"\x01"}
        assert (await client.get_task_status("t"))["result_payload"] == b"\x01"


async def test_many_tasks_go_in_few_calls_with_an_outcome_each(fake: Fake) -> None:
    async with OrchestratorClient(fake.address) as client:
        await client.submit_task("taken", {"n": 1})
        tasks: list[dict[str, Any]] = [{"task_id": f"t-{n}", "payload": {"n": n}} for n in range(2_500)]
        tasks[7] = {"task_id": "taken", "payload": {"n": 2}}
        outcomes = await client.submit_tasks(tasks)
        assert fake.orchestrator.calls["SubmitTasks"] == 3
        assert [one["task_id"] for one in outcomes] == [task["task_id"] for task in tasks]
        assert [i for i, one in enumerate(outcomes) if not one["success"]] == [7]
        assert outcomes[7]["error"] == "ALREADY_EXISTS: other content"
        big = [{"task_id": f"b-{n}", "payload": "x" * (1 << 20)} for n in range(5)]
        await client.submit_tasks(big)
        assert fake.orchestrator.calls["SubmitTasks"] == 6
        assert CHUNK_BYTES < 3 << 20
        with pytest.raises(InvalidArgument, match="a task has no playload"):
            await client.submit_tasks([{"playload": 1}])


async def test_results_come_as_tasks_end_and_the_stream_ends_with_the_last(fake: Fake) -> None:
    async with OrchestratorClient(fake.address) as client:
        for name in "abc":
            await client.submit_task(name, {})
        await finish(fake, "b")
        seen = []
        async for result in client.stream_task_results(["a", "b", "c"]):
            seen.append(result["task_id"])
            if len(seen) < 3:
                await finish(fake, "ac"[len(seen) - 1])
        assert seen == ["b", "a", "c"]


async def test_results_go_on_where_they_were_when_the_daemon_was_away(fake: Fake) -> None:
    fake.orchestrator.refusals["StreamTaskResults"] = [
        Refusal(UNAVAILABLE, "the daemon is ending", retry_after=0.01) for _ in range(12)
    ]
    async with OrchestratorClient(fake.address) as client:
        for name in "abc":
            await client.submit_task(name, {})
            await finish(fake, name)
        seen = [result["task_id"] async for result in client.stream_task_results(["a", "b", "c"])]
    assert sorted(seen) == ["a", "b", "c"]
    assert not fake.orchestrator.refusals["StreamTaskResults"]


async def test_a_task_is_waited_for_and_not_longer_than_asked(fake: Fake) -> None:
    async with OrchestratorClient(fake.address) as client:
        await client.submit_task("t", {})
        with pytest.raises(DeadlineExceeded, match=r"has not ended within 0.05 s"):
            await client.wait_task("t", timeout=0.05)
        waiting = asyncio.create_task(client.wait_task("t", timeout=20))
        await fake.orchestrator.until(lambda: fake.orchestrator.calls["StreamTaskResults"] == 2)
        await finish(fake, "t", b'{"n":1}')
        result = await waiting
        assert (result["status"], result["result_payload"]) == ("completed", {"n": 1})
        with pytest.raises(NotFound):
            await client.wait_task("nobody", timeout=20)


async def test_events_go_on_after_the_last_one_without_telling_it_twice(fake: Fake) -> None:
    def event(task_id: str, at: int) -> Any:
        return pb.TaskEvent(event_type="task_submitted", resource_id=task_id, timestamp=at)

    fake.orchestrator.events = [event("a", 10), event("b", 20), event("c", 20)]
    fake.orchestrator.refusals["StreamEvents"] = []
    seen: list[str] = []
    async with OrchestratorClient(fake.address) as client:
        async for one in client.stream_events(since=1):
            seen.append(one["resource_id"])
            if len(seen) == 3:
                fake.orchestrator.refusals["StreamEvents"] = [Refusal(UNAVAILABLE, "it is ending", retry_after=0.01)]
                fake.orchestrator.events.append(event("d", 20))
                await fake.orchestrator.tell()
            if len(seen) == 4:
                fake.orchestrator.events.append(event("e", 30))
                await fake.orchestrator.tell()
            if len(seen) == 5:
                break
    assert seen == ["a", "b", "c", "d", "e"]
    assert fake.orchestrator.calls["StreamEvents"] >= 2


async def test_whole_numbers_come_as_int(fake: Fake) -> None:
    async with OrchestratorClient(fake.address) as client:
        metrics = await client.get_metrics()
        assert metrics == {"env_queue_depth": 0, "gpu_wait_seconds": 0, "env_error_rate": 0.25}
        assert isinstance(metrics["env_queue_depth"], int)
        assert await client.get_metrics("env_error_rate", "nothing") == {"env_error_rate": 0.25}


async def test_cancelling_tells_the_state_before(fake: Fake) -> None:
    async with OrchestratorClient(fake.address) as client:
        await client.submit_task("t", {})
        assert await client.cancel_task("t", "not needed") == "pending"
        assert (await client.get_task_status("t"))["error"] == "not needed"


async def test_only_what_is_harmless_is_sent_again(fake: Fake) -> None:
    fake.orchestrator.refusals["GetMetrics"] = [Refusal(UNAVAILABLE, "a moment")]
    async with OrchestratorClient(fake.address) as client:
        await client.get_metrics()
        assert fake.orchestrator.calls["GetMetrics"] == 2
    reconciler = ReconcilerClient(fake.address)
    fake.reconciler.refusals = [Refusal(UNAVAILABLE, "a moment")]
    request = reconciler_pb2.RestartRequest(service_names=["redis"])
    with pytest.raises(Unavailable, match="a moment"):
        await reconciler.rpc.call("Restart", request, reconciler_pb2.RestartResponse)
    assert fake.reconciler.calls["Restart"] == 1
    # Other codes are not, whatever the call.
    fake.orchestrator.refusals["GetMetrics"] = [Refusal(grpc.StatusCode.INTERNAL, "a bug")] * 2
    async with OrchestratorClient(fake.address) as client:
        with pytest.raises(Exception, match="a bug"):
            await client.get_metrics()
    assert fake.orchestrator.calls["GetMetrics"] == 3
    await reconciler.close()


async def test_every_call_has_a_deadline(fake: Fake) -> None:
    hold = asyncio.Event()

    async def silent(method: str, context: Any) -> None:
        await hold.wait()

    fake.orchestrator._enter = silent  # type: ignore[method-assign]
    async with asyncio.timeout(20), OrchestratorClient(fake.address, timeout=0.1) as client:
        with pytest.raises(DeadlineExceeded):
            await client.get_metrics()
        with pytest.raises(DeadlineExceeded):
            await client.submit_task("t", {})
    hold.set()


async def test_nobody_there_is_said_with_the_address() -> None:
    async with served() as gone:
        address = gone.address
    async with OrchestratorClient(address) as client:
        with pytest.raises(Unavailable, match=address) as caught:
            await client.get_metrics()
    assert isinstance(caught.value, ConnectionError)


def test_the_address_is_argument_then_variable_then_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OrchestratorClient().address == "127.0.0.1:50052"
    assert ReconcilerClient().address == "127.0.0.1:50100"
    monkeypatch.setenv("ORCHESTRATOR_GRPC_ADDR", "0.0.0.0:7")
    monkeypatch.setenv("ENV_MANAGER_GRPC_ADDR", "[::]:8")
    assert OrchestratorClient().address == "127.0.0.1:7"
    assert ReconcilerClient().address == "127.0.0.1:8"
    assert OrchestratorClient("other:9").address == "other:9"
    with pytest.raises(InvalidArgument, match="host:port"):
        OrchestratorClient("nowhere")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork_calls_raise_instead_of_hanging() -> None:
    rpc = Rpc("127.0.0.1:1", "a.Service", frozenset())
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        said = b"nothing"
        try:
            asyncio.run(rpc.call("Method", pb.HealthRequest(), pb.HealthResponse))
        except ForkedProcess as error:
            said = str(error).encode()
        finally:
            os.write(theirs, said)
            os._exit(0)
    os.waitpid(child, 0)
    assert b"before a fork" in os.read(ours, 1_000)
    os.close(ours)
    os.close(theirs)
