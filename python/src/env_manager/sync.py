"""The same without `await`: every call runs on one loop, in a thread of its own. Works in notebooks and under a running
loop, too."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from . import errors
from .client import Health, NewTask, Submitted, TaskEvent, TaskResult, TaskStatus
from .infra import AgentInfra as _AgentInfra
from .infra import StrPath, ensure_infra, shutdown_infra
from .payload import Payload
from .reconciler import Convergence

T = TypeVar("T")


class LoopThread:
    """A loop in a daemon thread. One for the whole process is enough: [`shared`]."""

    _shared: LoopThread | None = None
    _guard = threading.Lock()

    def __init__(self) -> None:
        self._process = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="env-manager", daemon=True)
        self.thread.start()

    @classmethod
    def shared(cls) -> LoopThread:
        with cls._guard:
            if cls._shared is None or cls._shared.is_foreign():
                cls._shared = cls()
            return cls._shared

    def is_foreign(self) -> bool:
        """Made before a fork: its thread is in another process."""
        return os.getpid() != self._process

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Until it is done. An interrupt cancels it.

        Raises:
            errors.ForkedProcess: the thread is in the process that this one was forked from.
        """
        if self.is_foreign():
            work.close()
            raise errors.ForkedProcess("this client was made before a fork: make one in the child")
        if threading.current_thread() is self.thread:
            work.close()
            raise RuntimeError("a synchronous call on the client's own loop would wait for itself")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        async def following() -> T:
            return await anext(items)

        try:
            while True:
                try:
                    item = self.run(following())
                except StopAsyncIteration:
                    return
                yield item
        finally:
            self.run(_close(items))


async def _close(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()


class AgentInfra:
    """[`env_manager.AgentInfra`], synchronous. `with AgentInfra.start() as infra: …`, or `AgentInfra.start()` alone.

    Methods, arguments and errors are the same; streams are ordinary iterators.
    """

    def __init__(self, infra: _AgentInfra) -> None:
        self.infra = infra
        self._thread = LoopThread.shared()

    @classmethod
    def start(
        cls,
        orchestrator_addr: str | None = None,
        workspace: StrPath | None = None,
        auto_start_services: bool = True,
        cli_path: StrPath | None = None,
        *,
        stop_on_exit: bool = False,
        service_timeout: float | None = None,
    ) -> Self:
        infra = _AgentInfra(
            orchestrator_addr,
            workspace,
            auto_start_services,
            cli_path,
            stop_on_exit=stop_on_exit,
            service_timeout=service_timeout,
        )
        client = cls(infra)
        client._thread.run(infra.start_async())
        return client

    def stop(self) -> None:
        self._thread.run(self.infra.stop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def submit_task(
        self,
        task_id: str | None,
        payload: Payload = None,
        task_class: str = "cpu_short",
        priority: int = 0,
        *,
        workflow_id: str = "",
        timeout: float | None = None,
    ) -> Submitted:
        return self._thread.run(
            self.infra.submit_task(task_id, payload, task_class, priority, workflow_id=workflow_id, timeout=timeout)
        )

    def submit_tasks(
        self, tasks: Iterable[NewTask | Mapping[str, Any]], *, timeout: float | None = None
    ) -> list[Submitted]:
        return self._thread.run(self.infra.submit_tasks(tasks, timeout=timeout))

    def get_task_status(self, task_id: str, *, timeout: float | None = None) -> TaskStatus:
        return self._thread.run(self.infra.get_task_status(task_id, timeout=timeout))

    def wait_task(self, task_id: str, *, timeout: float | None = None) -> TaskResult:
        return self._thread.run(self.infra.wait_task(task_id, timeout=timeout))

    def stream_task_results(
        self, task_ids: Sequence[str] = (), *, include_completed: bool = True
    ) -> Iterator[TaskResult]:
        return self._thread.iterate(self.infra.stream_task_results(task_ids, include_completed=include_completed))

    def stream_events(self, event_types: Sequence[str] = (), *, since: int = 0) -> Iterator[TaskEvent]:
        return self._thread.iterate(self.infra.stream_events(event_types, since=since))

    def cancel_task(self, task_id: str, reason: str = "", *, timeout: float | None = None) -> str:
        return self._thread.run(self.infra.cancel_task(task_id, reason, timeout=timeout))

    def health_check(self, *, timeout: float = 10.0) -> Health:
        return self._thread.run(self.infra.health_check(timeout=timeout))

    def get_metrics(self, *names: str, timeout: float | None = None) -> dict[str, int | float]:
        return self._thread.run(self.infra.get_metrics(*names, timeout=timeout))

    def record_metric(self, name: str, value: float) -> None:
        self._thread.run(self.infra.record_metric(name, value))

    def wait_healthy(self, *services: str, timeout: float | None = None) -> Convergence:
        return self._thread.run(self.infra.wait_healthy(*services, timeout=timeout))

    def watch(self) -> Iterator[Convergence]:
        return self._thread.iterate(self.infra.watch())


def ensure_infra_sync(
    auto_start_services: bool = True,
    *,
    orchestrator_addr: str | None = None,
    workspace: StrPath | None = None,
    cli_path: StrPath | None = None,
) -> AgentInfra:
    """The one that the whole program shares (see `ensure_infra`), as a synchronous client."""
    thread = LoopThread.shared()
    infra = thread.run(
        ensure_infra(auto_start_services, orchestrator_addr=orchestrator_addr, workspace=workspace, cli_path=cli_path)
    )
    return AgentInfra(infra)


def shutdown_infra_sync() -> None:
    LoopThread.shared().run(shutdown_infra())
