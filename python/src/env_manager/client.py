"""The task queue: submits tasks, follows them, tells what is known of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, TypedDict

from . import errors, payload, settings
from .rpc import BY_NUMBER, Rpc
from .settings import Backoff
from .v1 import orchestrator_pb2 as pb

SERVICE = "orchestrator.v1.OrchestratorService"
#: Calls that may be made twice. A second RequeueTask would find another state.
IDEMPOTENT = frozenset(
    {
        "SubmitTask", "SubmitTasks", "GetTaskStatus", "GetMetrics", "Health", "StreamTaskResults", "StreamEvents",
        "ExtendLease", "CompleteTask", "FailTask", "ReleaseTask", "CancelTask", "ListTasks", "ListDeadTasks",
    }
)  # fmt: skip
#: Of one SubmitTasks; the daemon takes 1,000 tasks and 3 MiB.
CHUNK_TASKS = 1_000
CHUNK_BYTES = 3 * 1024 * 1024 - 64 * 1024
ENDED = frozenset({"completed", "failed", "cancelled"})


class Submitted(TypedDict):
    success: bool
    task_id: str
    error: str | None


class TaskStatus(TypedDict):
    task_id: str
    #: pending, running, completed, failed or cancelled
    status: str
    #: Of a result that is a JSON object: each member, strings as they are, others as JSON.
    result: dict[str, str]
    #: The result with its types: what the handler returned.
    result_payload: payload.Payload
    error: str | None


class TaskResult(TaskStatus):
    #: From the lease to the answer of the last attempt, in milliseconds.
    duration_ms: float
    #: Unix time in milliseconds.
    completed_at: int
    attempts: int


class TaskDetails(TaskStatus):
    task_class: str
    priority: int
    attempts: int
    max_attempts: int
    worker_id: str
    workflow_id: str
    #: Unix times in milliseconds; 0: not yet.
    submitted_at: int
    started_at: int
    completed_at: int
    #: Milliseconds until it is tried again; 0: it does not wait for that.
    retry_in_ms: int


class TaskEvent(TypedDict):
    event_type: str
    resource_id: str
    data: dict[str, str]
    #: Unix time in milliseconds.
    timestamp: int


class Health(TypedDict):
    healthy: bool
    version: str
    services: dict[str, str]


class NewTask(TypedDict, total=False):
    """What `submit_tasks` takes; everything may be left out."""

    task_id: str | None
    payload: payload.Payload
    task_class: str
    priority: int
    workflow_id: str


class OrchestratorClient:
    """Of `orchestrator.v1.OrchestratorService`. Also an async context manager.

    `address`: `host:port`, or `unix:/path`; `None`: `ORCHESTRATOR_GRPC_ADDR`, else `127.0.0.1:50052`.
    `timeout`: seconds that a call has where it is not given one.

    Every method raises a [`errors.RpcError`] where the daemon refuses or does not answer in time. What is safe to send
    twice is sent again by itself while the daemon is unavailable for a moment.
    """

    def __init__(self, address: str | None = None, *, timeout: float = 30.0) -> None:
        address = address or settings.text("ORCHESTRATOR_GRPC_ADDR") or f"127.0.0.1:{settings.ORCHESTRATOR_PORT}"
        self.rpc = Rpc(address, SERVICE, IDEMPOTENT)
        self.timeout = timeout

    @property
    def address(self) -> str:
        return self.rpc.address

    async def submit_task(
        self,
        task_id: str | None,
        payload: payload.Payload = None,
        task_class: str = "cpu_short",
        priority: int = 0,
        *,
        workflow_id: str = "",
        timeout: float | None = None,
    ) -> Submitted:
        """Returns once the task is on the disk of Redis. An id that is there with the same content is the same task, so
        sending it again is safe; `None` makes an id. A payload of `None` is the empty object.

        Raises:
            errors.PayloadError: the payload is not JSON (NaN is not).
            errors.AlreadyExists: there is a task of that id with other content.
            errors.InvalidArgument: the id or class cannot be.
            errors.ResourceExhausted: the backlog is full, or the payload too large.
            errors.PreconditionFailed: Redis is set so that it could lose the task.
        """
        task: NewTask = {
            "task_id": task_id, "payload": payload, "task_class": task_class, "priority": priority,
            "workflow_id": workflow_id,
        }  # fmt: skip
        answer = await self.rpc.call("SubmitTask", _request(task), pb.SubmitTaskResponse, self._within(timeout))
        return {"success": answer.success, "task_id": answer.task_id, "error": answer.error or None}

    async def submit_tasks(
        self, tasks: Iterable[NewTask | Mapping[str, Any]], *, timeout: float | None = None
    ) -> list[Submitted]:
        """Many, in as few calls as can be. Each has an outcome of its own, in their order: some may be refused and
        others taken. `timeout` is of each call.

        Raises:
            errors.PayloadError: a payload is not JSON; nothing was sent.
        """
        requests = [_request(task) for task in tasks]
        outcomes: list[Submitted] = []
        for chunk in _chunks(requests):
            request = pb.SubmitTasksRequest(tasks=chunk)
            answer = await self.rpc.call("SubmitTasks", request, pb.SubmitTasksResponse, self._within(timeout))
            for one in answer.results:
                error = one.error or None
                if error and one.code in BY_NUMBER:
                    error = f"{BY_NUMBER[one.code].name}: {error}"
                outcomes.append({"success": one.success, "task_id": one.task_id, "error": error})
        return outcomes

    async def get_task_status(self, task_id: str, *, timeout: float | None = None) -> TaskStatus:
        """Raises:
        errors.NotFound: there is none of that id, or it ended longer ago than results are kept.
        """
        request = pb.GetTaskStatusRequest(task_id=task_id)
        answer = await self.rpc.call("GetTaskStatus", request, pb.GetTaskStatusResponse, self._within(timeout))
        return _status(answer)

    async def describe_task(self, task_id: str, *, timeout: float | None = None) -> TaskDetails:
        """As [`get_task_status`], with everything else that is known."""
        request = pb.GetTaskStatusRequest(task_id=task_id)
        return _details(await self.rpc.call("GetTaskStatus", request, pb.GetTaskStatusResponse, self._within(timeout)))

    async def wait_task(self, task_id: str, *, timeout: float | None = None) -> TaskResult:
        """Its result, once it has ended; what came of it is in `status`. `timeout`: seconds; `None`: without end.

        Raises:
            errors.NotFound: there is none of that id.
            errors.DeadlineExceeded: it has not ended by then. It goes on.
        """
        try:
            async with asyncio.timeout(timeout), aclosing(self.stream_task_results([task_id])) as results:
                async for result in results:
                    return result
        except TimeoutError as error:
            if isinstance(error, errors.EnvManagerError):
                raise
            raise errors.DeadlineExceeded(
                f"task {task_id} has not ended within {timeout} s", code="DEADLINE_EXCEEDED"
            ) from None
        raise errors.NotFound(f"task {task_id} was forgotten while it was waited for", code="NOT_FOUND")

    async def stream_task_results(
        self, task_ids: Sequence[str] = (), *, include_completed: bool = True
    ) -> AsyncGenerator[TaskResult, None]:
        """The results of these tasks, each as it ends, until the last of them has. No ids: of all tasks, without end.

        Goes on by itself when the daemon is away for a while. Without ids, what ended meanwhile is not told
        (`stream_events` tells it).
        """
        left = dict.fromkeys(task_ids)
        backoff = Backoff.from_environment()
        while left or not task_ids:
            request = pb.StreamTaskResultsRequest(task_ids=list(left), include_completed=include_completed)
            try:
                async with aclosing(self.rpc.stream("StreamTaskResults", request, pb.TaskResult)) as results:
                    async for one in results:
                        backoff.reset()
                        if task_ids and one.task_id not in left:
                            continue
                        left.pop(one.task_id, None)
                        yield _result(one)
                if task_ids:
                    return
            except errors.RpcError as error:
                await _again(error, backoff)
            # What ended since is not passed over.
            include_completed = include_completed or bool(task_ids)

    async def stream_events(
        self, event_types: Sequence[str] = (), *, since: int = 0
    ) -> AsyncGenerator[TaskEvent, None]:
        """What happens to tasks, without end. `event_types`: `task_submitted`, `task_started`, `task_completed`,
        `task_failed`, …; none: all. `since`: Unix time in milliseconds; 0: from now on.

        Goes on by itself, where it was, when the daemon is away for a while.
        """
        backoff = Backoff.from_environment()
        told: list[bytes] = []  # of the newest moment
        while True:
            request = pb.StreamEventsRequest(event_types=list(event_types), since_timestamp=since)
            try:
                async with aclosing(self.rpc.stream("StreamEvents", request, pb.TaskEvent)) as events:
                    async for event in events:
                        backoff.reset()
                        encoded = event.SerializeToString(deterministic=True)
                        if event.timestamp != since:
                            since, told = event.timestamp, []
                        elif encoded in told:
                            continue
                        told.append(encoded)
                        yield {
                            "event_type": event.event_type,
                            "resource_id": event.resource_id,
                            "data": dict(event.data),
                            "timestamp": event.timestamp,
                        }
            except errors.RpcError as error:
                await _again(error, backoff)

    async def cancel_task(self, task_id: str, reason: str = "", *, timeout: float | None = None) -> str:
        """The state before: `pending`, `running`, or `cancelled`. A running one is ended by its worker.

        Raises:
            errors.PreconditionFailed: it has completed or failed.
        """
        request = pb.CancelTaskRequest(task_id=task_id, reason=reason)
        answer = await self.rpc.call("CancelTask", request, pb.CancelTaskResponse, self._within(timeout))
        return answer.previous_status

    async def requeue_task(self, task_id: str, *, timeout: float | None = None) -> None:
        """A dead task waits again, with all its attempts.

        Raises:
            errors.PreconditionFailed: it is not dead.
        """
        request = pb.RequeueTaskRequest(task_id=task_id)
        await self.rpc.call("RequeueTask", request, pb.RequeueTaskResponse, self._within(timeout))

    async def list_tasks(self, statuses: Sequence[str] = (), task_class: str = "") -> AsyncGenerator[TaskDetails, None]:
        """Newest first within a state. No statuses: pending and running."""
        token = ""
        while True:
            request = pb.ListTasksRequest(statuses=list(statuses), page_token=token, **_class(task_class))
            page = await self.rpc.call("ListTasks", request, pb.ListTasksResponse, self.timeout)
            for task in page.tasks:
                yield _details(task)
            token = page.next_page_token
            if not token:
                return

    async def list_dead_tasks(self) -> AsyncGenerator[TaskDetails, None]:
        """Those whose attempts are used up or that failed for good, newest first."""
        token = ""
        while True:
            request = pb.ListDeadTasksRequest(page_token=token)
            page = await self.rpc.call("ListDeadTasks", request, pb.ListDeadTasksResponse, self.timeout)
            for task in page.tasks:
                yield _details(task)
            token = page.next_page_token
            if not token:
                return

    async def health_check(self, *, timeout: float | None = None) -> Health:
        """Whether tasks are taken. `services`: `redis` and `durability`, each with a word or what is wrong."""
        answer = await self.rpc.call("Health", pb.HealthRequest(), pb.HealthResponse, self._within(timeout))
        return {"healthy": answer.healthy, "version": answer.version, "services": dict(answer.services)}

    async def get_metrics(self, *names: str, timeout: float | None = None) -> dict[str, int | float]:
        """Every number, or these; unknown names are left out. Whole numbers come as `int`."""
        request = pb.GetMetricsRequest(metric_names=names)
        answer = await self.rpc.call("GetMetrics", request, pb.GetMetricsResponse, self._within(timeout))
        return payload.integral(answer.metrics)

    async def close(self) -> None:
        await self.rpc.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _within(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else timeout


async def _again(error: errors.RpcError, backoff: Backoff) -> None:
    """Pauses before a stream is asked for again, or raises."""
    if isinstance(error, errors.DeadlineExceeded):
        return  # the stream's own, long one
    if not isinstance(error, errors.Unavailable):
        raise error
    await asyncio.sleep(error.retry_after or backoff.next())


def _request(task: NewTask | Mapping[str, Any]) -> pb.SubmitTaskRequest:
    unknown = set(task) - set(NewTask.__annotations__) - {"id", "class"}
    if unknown:
        raise errors.InvalidArgument(f"a task has no {', '.join(sorted(unknown))}", code="INVALID_ARGUMENT")
    task_class = task.get("task_class") or task.get("class") or "cpu_short"
    value = task.get("payload")
    fields: dict[str, Any] = {
        "id": task.get("task_id") or task.get("id") or uuid.uuid4().hex,
        "priority": task.get("priority") or 0,
        "workflow_id": task.get("workflow_id") or "",
        **payload.fields("payload", {} if value is None else value),
        **_class(str(task_class)),
    }
    return pb.SubmitTaskRequest(**fields)


def _class(name: str) -> dict[str, Any]:
    """A field whose name is a word of Python's."""
    return {"class": name}


def _chunks(requests: Sequence[pb.SubmitTaskRequest]) -> Iterable[list[pb.SubmitTaskRequest]]:
    chunk: list[pb.SubmitTaskRequest] = []
    size = 0
    for request in requests:
        length = request.ByteSize() + 8
        if chunk and (len(chunk) == CHUNK_TASKS or size + length > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(request)
        size += length
    if chunk:
        yield chunk


def _status(answer: Any) -> TaskStatus:
    return {
        "task_id": answer.task_id,
        "status": answer.status,
        "result": dict(answer.result),
        "result_payload": payload.read("result", answer),
        "error": answer.error or None,
    }


def _result(answer: pb.TaskResult) -> TaskResult:
    return {
        **_status(answer),
        "duration_ms": answer.duration_ms,
        "completed_at": answer.completed_at,
        "attempts": answer.attempts,
    }


def _details(answer: pb.GetTaskStatusResponse) -> TaskDetails:
    return {
        **_status(answer),
        "task_class": getattr(answer, "class"),
        "priority": answer.priority,
        "attempts": answer.attempts,
        "max_attempts": answer.max_attempts,
        "worker_id": answer.worker_id,
        "workflow_id": answer.workflow_id,
        "submitted_at": answer.submitted_at,
        "started_at": answer.started_at,
        "completed_at": answer.completed_at,
        "retry_in_ms": answer.retry_in_ms,
    }
