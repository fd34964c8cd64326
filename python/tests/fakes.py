"""The wire, answered in this process: a task queue in memory, and a daemon whose services a test sets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage

from env_manager.v1 import details_pb2, orchestrator_pb2, orchestrator_pb2_grpc, reconciler_pb2, reconciler_pb2_grpc

pb: Any = orchestrator_pb2
ENDED = {"completed", "failed", "cancelled"}


@dataclass
class Task:
    request: Any
    status: str = "pending"
    attempts: int = 0
    token: str = ""
    result: dict[str, bytes] = field(default_factory=dict)
    error: str = ""
    released: int = 0
    extended: int = 0

    @property
    def task_class(self) -> str:
        return getattr(self.request, "class") or "cpu_short"


@dataclass
class Stream:
    """Of one worker."""

    hello: Any
    out: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    credit: Counter[str] = field(default_factory=Counter)
    #: All that was ever given.
    given: Counter[str] = field(default_factory=Counter)
    drained: bool = False


class Refusal(Exception):
    def __init__(self, code: grpc.StatusCode, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.retry_after = code, message, retry_after


class Orchestrator(orchestrator_pb2_grpc.OrchestratorServiceServicer):
    """A queue without priorities: tests of those are the daemon's."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.streams: list[Stream] = []
        self.calls: Counter[str] = Counter()
        #: By method: refused before they are looked at, one after another.
        self.refusals: dict[str, list[Refusal]] = {}
        #: By method: done, and then the answer is lost.
        self.losses: dict[str, int] = {}
        self.events: list[Any] = []
        self.metrics: dict[str, float] = {"env_queue_depth": 0.0, "gpu_wait_seconds": 0.0, "env_error_rate": 0.25}
        self.healthy = True
        self.time_limit_ms = 60_000
        self.lease_ms = 30_000
        self.extensions: dict[str, int] = {}
        self._changed = asyncio.Condition()

    async def until(self, what: Callable[[], bool], timeout: float = 20.0) -> None:
        """Until a state is reached."""
        async with self._changed, asyncio.timeout(timeout):
            await self._changed.wait_for(what)

    async def tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _enter(self, method: str, context: Any) -> None:
        self.calls[method] += 1
        await self.tell()
        if queued := self.refusals.get(method):
            await refuse(context, queued.pop(0))

    async def _leave(self, method: str, context: Any) -> None:
        await self.tell()
        if self.losses.get(method, 0) > 0:
            self.losses[method] -= 1
            await refuse(context, Refusal(grpc.StatusCode.UNAVAILABLE, "the answer is lost"))

    def _submit(self, request: Any) -> Any:
        if not request.id:
            return pb.SubmitTaskResponse(error="an id is needed", code=3)
        known = self.tasks.get(request.id)
        if known is not None and known.request != request:
            return pb.SubmitTaskResponse(task_id=request.id, error="other content", code=6)
        self.tasks.setdefault(request.id, Task(request))
        self._deal()
        return pb.SubmitTaskResponse(success=True, task_id=request.id, existed=known is not None)

    async def SubmitTask(self, request: Any, context: Any) -> Any:
        await self._enter("SubmitTask", context)
        answer = self._submit(request)
        if answer.code:
            code = grpc.StatusCode.ALREADY_EXISTS if answer.code == 6 else grpc.StatusCode.INVALID_ARGUMENT
            await refuse(context, Refusal(code, answer.error))
        await self._leave("SubmitTask", context)
        return answer

    async def SubmitTasks(self, request: Any, context: Any) -> Any:
        await self._enter("SubmitTasks", context)
        return pb.SubmitTasksResponse(results=[self._submit(one) for one in request.tasks])

    def _known(self, task_id: str) -> Task:
        if task_id not in self.tasks:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"there is no task {task_id}")
        return self.tasks[task_id]

    async def GetTaskStatus(self, request: Any, context: Any) -> Any:
        await self._enter("GetTaskStatus", context)
        try:
            task = self._known(request.task_id)
        except Refusal as refusal:
            await refuse(context, refusal)
        return pb.GetTaskStatusResponse(
            task_id=request.task_id, status=task.status, error=task.error, attempts=task.attempts, **shown(task)
        )

    async def StreamTaskResults(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._enter("StreamTaskResults", context)
        left = list(request.task_ids)
        if unknown := [task_id for task_id in left if task_id not in self.tasks]:
            await refuse(context, Refusal(grpc.StatusCode.NOT_FOUND, f"there is no task {unknown[0]}"))
        while left:
            async with self._changed:
                await self._changed.wait_for(lambda: any(self.tasks[i].status in ENDED for i in left))
            for task_id in [i for i in left if self.tasks[i].status in ENDED]:
                left.remove(task_id)
                task = self.tasks[task_id]
                yield pb.TaskResult(
                    task_id=task_id, status=task.status, error=task.error, attempts=task.attempts, **shown(task)
                )
                if queued := self.refusals.get("StreamTaskResults"):
                    await refuse(context, queued.pop(0))

    async def StreamEvents(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._enter("StreamEvents", context)
        at = 0
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: len(self.events) > at)  # noqa: B023
            for event in self.events[at:]:
                at += 1
                if event.timestamp >= request.since_timestamp:
                    yield event
            if queued := self.refusals.get("StreamEvents"):
                await refuse(context, queued.pop(0))

    async def GetMetrics(self, request: Any, context: Any) -> Any:
        await self._enter("GetMetrics", context)
        names = set(request.metric_names)
        return pb.GetMetricsResponse(metrics={k: v for k, v in self.metrics.items() if not names or k in names})

    async def Health(self, request: Any, context: Any) -> Any:
        await self._enter("Health", context)
        words = {"redis": "ready" if self.healthy else "connection refused", "durability": "always"}
        return pb.HealthResponse(healthy=self.healthy, version="0.1.0", services=words, stack="default")

    async def CancelTask(self, request: Any, context: Any) -> Any:
        await self._enter("CancelTask", context)
        task = self._known(request.task_id)
        before, task.status, task.error = task.status, "cancelled", request.reason
        cancel = pb.LeaseEvent.Cancel(task_id=request.task_id, lease_token=task.token, reason=request.reason)
        for stream in self.streams:
            stream.out.put_nowait(pb.LeaseEvent(cancel=cancel))
        await self.tell()
        return pb.CancelTaskResponse(previous_status=before)

    # Workers.

    def _deal(self) -> None:
        """Waiting tasks to whoever has credit."""
        for task_id, task in self.tasks.items():
            for stream in self.streams:
                name = task.task_class
                if task.status == "pending" and stream.credit[name] > 0 and not stream.drained:
                    stream.credit[name] -= 1
                    self.lease(stream, task_id)

    def lease(self, stream: Stream, task_id: str) -> None:
        task = self.tasks[task_id]
        task.status, task.attempts = "running", task.attempts + 1
        task.token = f"{task_id}/{task.attempts}/{task.released}"
        request = task.request
        lease = pb.LeaseEvent.Lease(
            task_id=task_id,
            attempt=task.attempts,
            max_attempts=3,
            lease_token=task.token,
            lease_ms=self.lease_ms,
            time_limit_ms=self.time_limit_ms,
            payload=request.payload,
            payload_json=request.payload_json,
            payload_bytes=request.payload_bytes,
            **{"class": task.task_class},
        )
        stream.out.put_nowait(pb.LeaseEvent(lease=lease))

    async def LeaseTasks(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        await self._enter("LeaseTasks", context)
        first = await anext(aiter(requests))
        stream = Stream(first.hello)
        self.streams.append(stream)

        async def listen() -> None:
            async for request in requests:
                if request.WhichOneof("request") == "credit":
                    name = getattr(request.credit, "class")
                    stream.credit[name] += request.credit.add
                    stream.given[name] += request.credit.add
                    self._deal()
                elif request.WhichOneof("request") == "drain":
                    stream.drained = True
                    stream.out.put_nowait(pb.LeaseEvent(drain=pb.LeaseEvent.Drain(reason="the worker drains")))
                await self.tell()

        listening = asyncio.create_task(listen())
        await self.tell()
        try:
            yield pb.LeaseEvent(
                welcome=pb.LeaseEvent.Welcome(lease_ms=self.lease_ms, heartbeat_ms=self.lease_ms // 3, daemon_id="fake")
            )
            while (event := await stream.out.get()) is not None:
                yield event
        finally:
            listening.cancel()
            self.streams.remove(stream)
            await self.tell()

    async def break_streams(self) -> None:
        for stream in list(self.streams):
            stream.out.put_nowait(None)
        await self.until(lambda: not self.streams)

    async def ExtendLease(self, request: Any, context: Any) -> Any:
        await self._enter("ExtendLease", context)
        answers = []
        for lease in request.leases:
            task = self.tasks[lease.task_id]
            task.extended += 1
            answers.append(self.extensions.get(lease.task_id, pb.EXTENSION_OK))
        await self.tell()
        return pb.ExtendLeaseResponse(extensions=answers)

    def _answer(self, request: Any) -> Task | None:
        task = self._known(request.task_id)
        return task if task.token == request.lease_token and task.status != "cancelled" else None

    async def CompleteTask(self, request: Any, context: Any) -> Any:
        await self._enter("CompleteTask", context)
        task = self._answer(request)
        if task is None:
            return pb.CompleteTaskResponse(answer=pb.ANSWER_STALE)
        task.status = "completed"
        task.result = {"result_json": request.result_json, "result_bytes": request.result_bytes}
        await self._leave("CompleteTask", context)
        return pb.CompleteTaskResponse(answer=pb.ANSWER_OK)

    async def FailTask(self, request: Any, context: Any) -> Any:
        await self._enter("FailTask", context)
        task = self._answer(request)
        if task is None:
            return pb.FailTaskResponse(answer=pb.ANSWER_STALE)
        dead = not request.retryable or task.attempts >= 3
        task.status, task.error = ("failed" if dead else "pending"), request.error
        self._deal()
        await self._leave("FailTask", context)
        return pb.FailTaskResponse(answer=pb.ANSWER_OK, dead=dead)

    async def ReleaseTask(self, request: Any, context: Any) -> Any:
        await self._enter("ReleaseTask", context)
        task = self._answer(request)
        if task is None:
            return pb.ReleaseTaskResponse(answer=pb.ANSWER_STALE)
        task.status, task.attempts, task.released = "pending", task.attempts - 1, task.released + 1
        self._deal()
        await self.tell()
        return pb.ReleaseTaskResponse(answer=pb.ANSWER_OK)


def shown(task: Task) -> dict[str, Any]:
    """A result as the daemon tells it: of an object each member as text, too."""
    fields: dict[str, Any] = dict(task.result)
    if text := fields.get("result_json"):
        value = json.loads(text)
        members = value if isinstance(value, dict) else {"result": value}
        fields["result"] = {k: v if isinstance(v, str) else json.dumps(v) for k, v in members.items()}
    return fields


async def refuse(context: Any, refusal: Refusal) -> None:
    if refusal.retry_after is not None:
        retry: Any = details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(refusal.retry_after * 1e9))
        detail = AnyMessage(type_url="type.googleapis.com/google.rpc.RetryInfo", value=retry.SerializeToString())
        status = details_pb2.Status(code=refusal.code.value[0], message=refusal.message, details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(refusal.code, refusal.message)


class Reconciler(reconciler_pb2_grpc.ReconcilerServiceServicer):
    """A daemon whose services are what a test says."""

    def __init__(self) -> None:
        self.stack, self.source, self.revision = "default", "/srv/manifests", "3f2a91c"
        self.services: dict[str, Any] = {}
        self.calls: Counter[str] = Counter()
        self.refusals: list[Refusal] = []
        self.changes = 0
        self._changed = asyncio.Condition()

    async def set(
        self, name: str, *, ready: bool, phase: str = "Ready", message: str = "", required: bool = True
    ) -> None:
        async with self._changed:
            self.services[name] = reconciler_pb2.ServiceStatus(
                name=name, ready=ready, phase=phase, message=message, required=required, converged=ready
            )
            self.changes += 1
            self._changed.notify_all()

    @property
    def healthy(self) -> bool:
        return all(service.ready for service in self.services.values() if service.required)

    def _now(self) -> Any:
        return reconciler_pb2.Convergence(
            converged=all(service.ready for service in self.services.values()),
            healthy=self.healthy,
            stack=self.stack,
            source=reconciler_pb2.Source(location=self.source, revision=self.revision),
            services=list(self.services.values()),
            engine=reconciler_pb2.EngineStatus(reachable=True),
        )

    async def GetHealth(self, request: Any, context: Any) -> Any:
        self.calls["GetHealth"] += 1
        if self.refusals:
            await refuse(context, self.refusals.pop(0))
        words = {s.name: "ready" if s.ready else s.phase.lower() for s in self.services.values()}
        return reconciler_pb2.GetHealthResponse(
            healthy=self.healthy, version="0.1.0", services=words, stack=self.stack, converged=self.healthy
        )

    async def GetConvergence(self, request: Any, context: Any) -> Any:
        self.calls["GetConvergence"] += 1
        return reconciler_pb2.GetConvergenceResponse(convergence=self._now())

    async def WatchConvergence(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.calls["WatchConvergence"] += 1
        whole = True
        while True:
            told = self.changes
            yield reconciler_pb2.WatchConvergenceResponse(convergence=self._now(), whole=whole)
            whole = False
            if self.refusals:
                await refuse(context, self.refusals.pop(0))
            async with self._changed:
                await self._changed.wait_for(lambda: self.changes > told)  # noqa: B023

    async def Restart(self, request: Any, context: Any) -> Any:
        self.calls["Restart"] += 1
        if self.refusals:
            await refuse(context, self.refusals.pop(0))
        return reconciler_pb2.RestartResponse(restarting=request.service_names)


@dataclass
class Fake:
    address: str
    orchestrator: Orchestrator
    reconciler: Reconciler
    server: Any


@contextlib.asynccontextmanager
async def served(address: str = "127.0.0.1:0") -> AsyncIterator[Fake]:
    """Both services on one port."""
    server = grpc.aio.server(options=[("grpc.http2.min_ping_interval_without_data_ms", 1_000)])
    orchestrator, reconciler = Orchestrator(), Reconciler()
    orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(orchestrator, server)
    reconciler_pb2_grpc.add_ReconcilerServiceServicer_to_server(reconciler, server)
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield Fake(f"127.0.0.1:{port}", orchestrator, reconciler, server)
    finally:
        await server.stop(None)
