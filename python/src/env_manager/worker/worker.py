"""The lease stream, heartbeats, drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc.aio

from .. import errors, payload, settings
from ..binary import package_version
from ..client import IDEMPOTENT, SERVICE
from ..rpc import Rpc, translated
from ..settings import Backoff
from ..v1 import orchestrator_pb2 as pb
from . import handlers as registry
from .answers import Answers
from .handlers import Handler, TaskContext, known_class
from .lanes import Lane
from .outcome import Done, Failed, Outcome, Stopped
from .slots import Slot, Work

log = logging.getLogger("env_manager.worker")

#: Leases in one ExtendLease.
MAX_EXTEND = 1_000
#: Seconds that the daemon has to welcome a worker, and to say that no more leases come.
WELCOME = 30.0
FAREWELL = 5.0


@dataclass
class Attempt:
    """A lease that is worked on, or whose answer is under way."""

    lease: Any
    slot: Slot
    #: The handler is at it.
    runs: bool = True
    #: Why it is to be given back; empty: it is not.
    give_back: str = ""


class Worker:
    """Leases tasks of the classes that have handlers, and works on them until it is told to stop.

        await Worker().run()                # until SIGTERM or Ctrl-C
        async with Worker() as worker: …    # meanwhile
        await worker.start(); …; await worker.stop()

    `handlers`: by default all that are registered. `address`: as of `OrchestratorClient`. `lease`: seconds that a task
    is this worker's own without a heartbeat (one is sent every third of it). `grace`: seconds that tasks have to end
    when the worker drains; what is not done by then is given back, and does not count as an attempt. `concurrency`: by
    class, instead of the handlers' own.

    Raises:
        errors.HandlerError: there is no handler, or one cannot be loaded.
    """

    def __init__(
        self,
        handlers: Iterable[Handler] | None = None,
        *,
        address: str | None = None,
        lease: float = 30.0,
        grace: float = 30.0,
        concurrency: Mapping[str, int] | None = None,
        worker_id: str | None = None,
    ) -> None:
        sizes = {known_class(name): size for name, size in (concurrency or {}).items()}
        chosen = list(registry.REGISTERED.values() if handlers is None else handlers)
        if not chosen:
            raise errors.HandlerError('there is no handler: write @task_handler("cpu_short") over a function')
        self._handlers = [
            Handler(h.task_class, h.function, h.where, sizes.get(h.task_class, h.concurrency), h.reference)
            for h in chosen
        ]
        address = address or settings.text("ORCHESTRATOR_GRPC_ADDR") or f"127.0.0.1:{settings.ORCHESTRATOR_PORT}"
        self._rpc = Rpc(address, SERVICE, IDEMPOTENT)
        self._answers = Answers(self._rpc)
        self._lease_ms = round(lease * 1_000)
        self._heartbeat = lease / 3
        self._grace = grace
        name = worker_id or f"{socket.gethostname()}:{os.getpid()}"
        self.worker_id = re.sub(r"[^A-Za-z0-9._:-]", "-", name)[:200]
        self.instance_id = uuid.uuid4().hex
        self._lanes: dict[str, Lane] = {}
        self._attempts: dict[str, Attempt] = {}
        self._working: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        #: What the stream's writer waits for: credit is due, or the drain begins.
        self._news = asyncio.Event()
        self._draining = asyncio.Event()
        self._hurry = asyncio.Event()
        self._no_more = asyncio.Event()
        #: The heartbeat may be another one now.
        self._welcome = asyncio.Event()
        self._connected = False

    async def run(self, *, signals: bool = True) -> None:
        """Until it is drained: by SIGTERM or SIGINT where `signals` is set, or by `drain()`. A second signal ends the
        grace at once."""
        loop = asyncio.get_running_loop()
        taken = (signal.SIGTERM, signal.SIGINT) if signals else ()
        for number in taken:
            loop.add_signal_handler(number, self._signalled)
        try:
            async with self:
                await self._draining.wait()
        finally:
            for number in taken:
                loop.remove_signal_handler(number)

    def drain(self) -> None:
        """No more tasks; what runs has the grace to end. Returns at once: `run` returns when it is done."""
        self._draining.set()
        self._news.set()

    def _signalled(self) -> None:
        if self._draining.is_set():
            self._hurry.set()
        else:
            log.info("draining: %d tasks have %g s to end", len(self._attempts), self._grace)
            self.drain()

    async def start(self) -> Self:
        """Without a block, as in a notebook: `await worker.start()`, and `await worker.stop()` later."""
        return await self.__aenter__()

    async def stop(self) -> None:
        """Drains, and returns when it is done."""
        await self.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        self._lanes = {h.task_class: Lane(h, self._news.set) for h in self._handlers}
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self._lanes.values():
                    group.create_task(lane.open())
        except BaseExceptionGroup as group_error:
            await self._close()
            raise _first(group_error) from None
        self._tasks = [asyncio.create_task(self._connect()), asyncio.create_task(self._beat())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.drain()
            await self._drained(hurry=error is not None)
        finally:
            await self._close()

    async def _drained(self, *, hurry: bool) -> None:
        """Until nothing is left to answer; what is not done after the grace is given back."""
        if self._connected:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    await self._no_more.wait()
        if self._working and not hurry:
            waiting = asyncio.create_task(self._hurry.wait())
            ending = asyncio.gather(*self._working, return_exceptions=True)
            both: set[asyncio.Future[Any]] = {waiting, ending}
            await asyncio.wait(both, timeout=self._grace, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        for attempt in self._attempts.values():
            if attempt.runs:
                attempt.give_back = "the worker drains"
                attempt.slot.abort()
        if self._working:
            # Answers are tried for another grace; then leases lapse, and others have the tasks.
            await asyncio.wait(self._working, timeout=max(self._grace, FAREWELL))

    async def _close(self) -> None:
        for task in [*self._tasks, *self._working]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._working, return_exceptions=True)
        for lane in self._lanes.values():
            await lane.close()
        await self._rpc.close()

    # The stream.

    async def _connect(self) -> None:
        backoff = Backoff.from_environment()
        while not self._draining.is_set():
            try:
                await self._converse(backoff)
                reason = "the daemon has ended the stream"
            except errors.RpcError as error:
                reason = str(error)
                if isinstance(error, errors.PermissionDenied | errors.Unimplemented | errors.InvalidArgument):
                    log.error("%s", error)
            finally:
                self._connected = False
                for lane in self._lanes.values():
                    lane.forget_credit()
            if self._draining.is_set():
                break
            pause = backoff.next()
            log.warning("%s; connecting again in %.1f s", reason, pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._draining.wait()
        self._no_more.set()

    async def _converse(self, backoff: Backoff) -> None:
        """One stream, until it ends.

        Raises:
            errors.RpcError: it broke.
        """
        call = self._rpc.converse("LeaseTasks", pb.LeaseEvent)
        writer: asyncio.Task[None] | None = None
        try:
            await call.write(pb.LeaseRequest(hello=self._hello()))
            while True:
                welcomed = writer is not None
                async with asyncio.timeout(None if welcomed else WELCOME):
                    event: Any = await call.read()
                if event is grpc.aio.EOF:
                    if not call.done() or await call.code() is grpc.StatusCode.OK:
                        return
                    await call.wait_for_connection()  # raises what ended it
                    raise errors.Unavailable(str(await call.details()), code=(await call.code()).name)
                which = event.WhichOneof("event")
                if which == "welcome":
                    self._heartbeat = event.welcome.heartbeat_ms / 1_000 or self._heartbeat
                    self._connected = True
                    self._welcome.set()
                    backoff.reset()
                    log.info("connected to %s as %s", self._rpc.address, self.worker_id)
                    self._news.set()
                    writer = asyncio.create_task(self._write(call))
                elif which == "lease":
                    self._begin(event.lease)
                elif which == "cancel":
                    self._stop(event.cancel.lease_token, event.cancel.reason or "cancelled")
                elif which == "drain":
                    log.info("no more leases: %s", event.drain.reason or "the daemon drains")
                    self._no_more.set()
                    return
        except grpc.aio.AioRpcError as error:
            raise translated(error, f"LeaseTasks at {self._rpc.address}") from None
        except (TimeoutError, asyncio.InvalidStateError) as error:
            raise errors.Unavailable(f"LeaseTasks at {self._rpc.address}: {error or 'no welcome'}") from None
        finally:
            if writer is not None:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
            call.cancel()

    async def _write(self, call: Any) -> None:
        """Credit as it is due, then the drain. Its only writer."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                if self._draining.is_set():
                    await call.write(pb.LeaseRequest(drain=pb.LeaseRequest.Drain()))
                    await call.done_writing()
                    return
                for name, lane in self._lanes.items():
                    if due := lane.due():
                        credit = pb.LeaseRequest.Credit(add=due, **{"class": name})
                        await call.write(pb.LeaseRequest(credit=credit))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the reader finds out, too

    def _hello(self) -> pb.LeaseRequest.Hello:
        slots = [pb.LeaseRequest.Slots(slots=lane.size, **{"class": name}) for name, lane in self._lanes.items()]
        return pb.LeaseRequest.Hello(
            worker_id=self.worker_id,
            instance_id=self.instance_id,
            slots=slots,
            lease_ms=self._lease_ms,
            client_version=f"python {package_version() or 'unknown'}",
        )

    # Leases.

    def _begin(self, lease: Any) -> None:
        lane = self._lanes.get(getattr(lease, "class"))
        slot = lane.take() if lane is not None and not self._draining.is_set() else None
        if lane is None or slot is None:
            why = "the worker drains" if self._draining.is_set() else "no slot is free"
            self._keep(self._answers.released(lease.task_id, lease.lease_token, why))
        else:
            attempt = self._attempts[lease.lease_token] = Attempt(lease, slot)
            self._keep(self._work(lane, attempt))

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _work(self, lane: Lane, attempt: Attempt) -> None:
        lease = attempt.lease
        try:
            try:
                outcome = await self._handled(attempt)
            finally:
                attempt.runs = False
                lane.give_back(attempt.slot)
            if isinstance(outcome, Done):
                await self._answers.completed(lease.task_id, lease.lease_token, outcome)
            elif isinstance(outcome, Failed):
                await self._answers.failed(lease.task_id, lease.lease_token, outcome)
            elif attempt.give_back:
                await self._answers.released(lease.task_id, lease.lease_token, attempt.give_back)
        finally:
            self._attempts.pop(lease.lease_token, None)

    async def _handled(self, attempt: Attempt) -> Outcome:
        lease, slot = attempt.lease, attempt.slot
        limit = lease.time_limit_ms / 1_000
        running = asyncio.ensure_future(slot.run(_work_of(lease)))
        try:
            done, _ = await asyncio.wait({running}, timeout=limit or None)
            if not done:
                slot.abort()
                await running
                if not attempt.give_back:
                    return Failed(f"it took longer than its class's time limit of {limit:g} s")
                return Stopped()
            return running.result()
        except asyncio.CancelledError:
            slot.abort()
            raise

    def _stop(self, token: str, reason: str) -> None:
        """Its attempt is not wanted any more."""
        attempt = self._attempts.get(token)
        if attempt is not None and attempt.runs:
            log.info("task %s is stopped: %s", attempt.lease.task_id, reason)
            attempt.slot.abort()

    # Heartbeats.

    async def _beat(self) -> None:
        """Every third of the lease, for all attempts, also those whose answer is under way."""
        while True:
            began = time.monotonic()
            tokens = list(self._attempts)
            for start in range(0, len(tokens), MAX_EXTEND):
                await self._extend(tokens[start : start + MAX_EXTEND])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.05, self._heartbeat - (time.monotonic() - began))):
                    await self._welcome.wait()
            self._welcome.clear()

    async def _extend(self, tokens: list[str]) -> None:
        leases = [
            pb.LeaseRef(task_id=self._attempts[token].lease.task_id, lease_token=token)
            for token in tokens
            if token in self._attempts
        ]
        request = pb.ExtendLeaseRequest(leases=leases, lease_ms=self._lease_ms)
        try:
            answer = await self._rpc.call("ExtendLease", request, pb.ExtendLeaseResponse, self._heartbeat)
        except errors.RpcError as error:
            log.warning("%s", error)
            return
        for lease, extension in zip(leases, answer.extensions, strict=False):
            if extension == pb.EXTENSION_LOST:
                self._stop(lease.lease_token, "its lease is lost")
            elif extension == pb.EXTENSION_CANCEL:
                self._stop(lease.lease_token, "it was cancelled")


def _work_of(lease: Any) -> Work:
    context = TaskContext(
        task_id=lease.task_id,
        task_class=getattr(lease, "class"),
        attempt=lease.attempt,
        max_attempts=lease.max_attempts,
        priority=lease.priority,
        workflow_id=lease.workflow_id,
        time_limit=lease.time_limit_ms / 1_000,
    )
    if lease.payload_bytes:
        return Work(context, "bytes", lease.payload_bytes)
    return Work(context, "json", lease.payload_json or payload.to_json(dict(lease.payload)))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
