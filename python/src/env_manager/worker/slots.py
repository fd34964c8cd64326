"""A slot works on one task at a time: a process, a thread, or a task of a loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from typing import Protocol

from ..errors import HandlerError
from ..sync import LoopThread
from . import frames, outcome
from .handlers import Handler, TaskContext
from .outcome import Failed, Outcome, Stopped

#: Seconds that a process has to import its handler.
LOAD = 120.0


@dataclass(frozen=True)
class Work:
    context: TaskContext
    #: json or bytes
    kind: str
    body: bytes


class Slot(Protocol):
    async def ready(self) -> None:
        """Until it can take work, again.

        Raises:
            HandlerError: its handler cannot be loaded.
        """

    async def run(self, work: Work) -> Outcome:
        """Until the handler is done, or [`abort`] has ended it: never raises."""

    def abort(self) -> None:
        """Ends what runs; `run` returns [`Stopped`] at once. The slot is to be made `ready` afterwards."""

    async def close(self) -> None: ...


def slot_for(handler: Handler) -> Slot:
    if handler.where == "process":
        return ProcessSlot(handler)
    return ThreadSlot(handler) if handler.where == "thread" else LoopSlot(handler)


class ProcessSlot:
    """A process of its own, by spawn. Killed to end a task, with all that the handler has started."""

    def __init__(self, handler: Handler) -> None:
        assert handler.reference is not None
        self._reference = handler.reference
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._aborted = False

    async def ready(self) -> None:
        if self._process is not None and self._process.returncode is None and not self._aborted:
            return
        await self.close()
        ours, theirs = socket.socketpair()
        # The same module search path as here: a process that was started by a script has that script's folder in it.
        begin = f"from env_manager.worker.child import main; main({theirs.fileno()})"
        code = f"import sys; sys.path[:] = {sys.path!r}; {begin}"
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                code,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
        finally:
            theirs.close()
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        self._aborted = False
        self._writer.write(frames.encode({"load": self._reference}))
        try:
            async with asyncio.timeout(LOAD):
                header, _ = await frames.read(self._reader)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            how = await self._end()
            raise HandlerError(f"{self._reference} is not loaded: {how} ({type(error).__name__})") from None
        if "failed" in header:
            await self._end()
            raise HandlerError(f"{self._reference} cannot be loaded:\n{header['failed']}")

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def run(self, work: Work) -> Outcome:
        context = {name: value for name, value in vars(work.context).items() if name != "cancelled"}
        try:
            self._writer.write(frames.encode({"kind": work.kind, "context": context}, work.body))
            await self._writer.drain()
            header, body = await frames.read(self._reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            how = await self._end()
            return Stopped() if self._aborted else Failed(f"the handler's {how}")
        if self._aborted:
            return Stopped()
        if "done" in header:
            return outcome.Done({header["done"]: body})
        return Failed(header["error"], header["retryable"])

    def abort(self) -> None:
        self._aborted = True
        self._kill()

    async def close(self) -> None:
        if self._process is not None:
            await self._end()

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _end(self) -> str:
        """How its process ended, in words."""
        process, self._process = self._process, None
        if process is None:
            return "process has ended"
        # It hangs up first where it ends by itself: then this is how, and not our SIGKILL.
        try:
            async with asyncio.timeout(0 if self._aborted else 1):
                await process.wait()
        except TimeoutError:
            pass
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        code = await process.wait()
        self._writer.close()
        if code < 0:
            return f"process was ended by {signal.Signals(-code).name}"
        return f"process ended with exit code {code}"


class ThreadSlot:
    """A thread. It cannot be ended: a handler that goes on after a cancellation keeps its slot until it returns."""

    def __init__(self, handler: Handler) -> None:
        self._function = handler.function
        self._queue: queue.SimpleQueue[tuple[Work, asyncio.Future[Outcome]] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._free = asyncio.Event()
        self._free.set()
        self._work: Work | None = None
        self._answer: asyncio.Future[Outcome] | None = None
        threading.Thread(target=self._serve, name=f"handler {handler.task_class}", daemon=True).start()

    async def ready(self) -> None:
        await self._free.wait()

    async def run(self, work: Work) -> Outcome:
        self._free.clear()
        self._work, self._answer = work, self._loop.create_future()
        self._queue.put((work, self._answer))
        return await self._answer

    def abort(self) -> None:
        if self._work is not None and self._answer is not None:
            self._work.context.cancelled.set()
            self._settle(self._answer, Stopped())

    async def close(self) -> None:
        self.abort()
        self._queue.put(None)

    def _serve(self) -> None:
        while (item := self._queue.get()) is not None:
            work, answer = item
            result = outcome.run(self._function, work.kind, work.body, work.context)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._done, answer, result)

    def _done(self, answer: asyncio.Future[Outcome], result: Outcome) -> None:
        self._settle(answer, result)
        self._free.set()

    @staticmethod
    def _settle(answer: asyncio.Future[Outcome], result: Outcome) -> None:
        if not answer.done():
            answer.set_result(result)


class LoopSlot:
    """A task of the handlers' own loop, so that a handler that blocks holds up no heartbeat."""

    _handlers: LoopThread | None = None

    def __init__(self, handler: Handler) -> None:
        self._function = handler.function
        if LoopSlot._handlers is None or LoopSlot._handlers.is_foreign():
            LoopSlot._handlers = LoopThread()
        self._thread = LoopSlot._handlers
        self._loop = asyncio.get_running_loop()
        self._free = asyncio.Event()
        self._free.set()
        self._running: asyncio.Task[Outcome] | None = None  # touched by the handlers' loop alone
        self._answer: asyncio.Future[Outcome] | None = None

    async def ready(self) -> None:
        await self._free.wait()

    async def run(self, work: Work) -> Outcome:
        self._free.clear()
        answer: asyncio.Future[Outcome] = self._loop.create_future()
        self._answer = answer

        async def handle() -> Outcome:
            try:
                value = outcome.call(self._function, outcome.decoded(work.kind, work.body), work.context)
                return outcome.done(await value)
            except BaseException as error:
                return outcome.failed(error)

        def tell(task: asyncio.Task[Outcome]) -> None:
            # One that was cancelled before it began has not come to `handle`.
            result = Stopped() if task.cancelled() else task.result()
            with contextlib.suppress(RuntimeError):  # the worker's loop is closed
                self._loop.call_soon_threadsafe(self._done, answer, result)

        def begin() -> None:
            self._running = self._thread.loop.create_task(handle())
            self._running.add_done_callback(tell)

        self._thread.loop.call_soon_threadsafe(begin)
        return await answer

    def abort(self) -> None:
        def end() -> None:
            if self._running is not None:
                self._running.cancel()

        self._thread.loop.call_soon_threadsafe(end)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Stopped())

    async def close(self) -> None:
        self.abort()

    def _done(self, answer: asyncio.Future[Outcome], result: Outcome) -> None:
        if not answer.done():
            answer.set_result(result)
        self._free.set()
