"""`AgentInfra`: finds or starts the daemon, waits until services are ready, submits tasks, asks how things are."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, overload
from weakref import WeakKeyDictionary

from . import daemon, errors, settings
from .client import Health, NewTask, OrchestratorClient, Submitted, TaskEvent, TaskResult, TaskStatus
from .payload import Payload
from .reconciler import Convergence, ReconcilerClient

if TYPE_CHECKING:
    from .sync import ensure_infra_sync

__all__ = [
    "AgentInfra",
    "OrchestratorClient",
    "ensure_infra",
    "ensure_infra_sync",
    "orchestrator_client",
    "shutdown_infra",
    "use_infra",
]

StrPath = str | os.PathLike[str]
#: The name under which `health_check` tells of the task queue, beside the services.
TASK_QUEUE = "task_queue"


class Starting:
    """What `AgentInfra.start()` returns: await it, or enter it with `async with`."""

    def __init__(self, infra: AgentInfra) -> None:
        self._infra = infra

    def __await__(self) -> Generator[Any, None, AgentInfra]:
        return self._infra.start_async().__await__()

    async def __aenter__(self) -> AgentInfra:
        return await self._infra.start_async()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._infra.stop()


class StartCall(Protocol):
    def __call__(
        self,
        orchestrator_addr: str | None = None,
        workspace: StrPath | None = None,
        auto_start_services: bool = True,
        cli_path: StrPath | None = None,
        *,
        stop_on_exit: bool = False,
        service_timeout: float | None = None,
    ) -> Starting: ...


class _Start:
    """`AgentInfra.start(…)` makes an instance; `infra.start()` starts that one."""

    __doc__ = """Finds the daemon or starts it, and waits until required services are ready. See [`AgentInfra`]."""

    @overload
    def __get__(self, infra: None, owner: type[AgentInfra]) -> StartCall: ...
    @overload
    def __get__(self, infra: AgentInfra, owner: type[AgentInfra]) -> StartCall: ...
    def __get__(self, infra: AgentInfra | None, owner: type[AgentInfra]) -> StartCall:
        def start(
            orchestrator_addr: str | None = None,
            workspace: StrPath | None = None,
            auto_start_services: bool = True,
            cli_path: StrPath | None = None,
            *,
            stop_on_exit: bool = False,
            service_timeout: float | None = None,
        ) -> Starting:
            arguments: dict[str, Any] = {
                "orchestrator_addr": orchestrator_addr,
                "workspace": workspace,
                "auto_start_services": auto_start_services,
                "cli_path": cli_path,
                "stop_on_exit": stop_on_exit,
                "service_timeout": service_timeout,
            }
            if infra is None:
                return Starting(owner(**arguments))
            # What is not said here is as the instance was made.
            defaults = {"auto_start_services": True, "stop_on_exit": False}
            for name, value in arguments.items():
                if value != defaults.get(name):
                    setattr(infra, name, value)
            return Starting(infra)

        start.__doc__ = self.__doc__
        return start


class AgentInfra:
    """The environment, for a program.

        async with AgentInfra.start() as infra: …
        infra = await AgentInfra.start()
        infra = AgentInfra(); await infra.start()

    Starting it finds the daemon of the stack, or starts one (its log lines go to stderr meanwhile), and returns once
    all required services are ready. Leaving it leaves services running, and the daemon too.

    `orchestrator_addr`: of the task queue; by default `ORCHESTRATOR_GRPC_ADDR`, else `127.0.0.1:50052`.
    `workspace`: the folder whose `manifests` the daemon keeps (or the folder of manifests itself); a daemon that keeps
    others is refused. By default that of the configuration; where that says nothing, any daemon of the stack will do.
    `auto_start_services`: `False` starts nothing and waits for no service; a daemon must be there.
    `cli_path`: the program to start; else `DSPY_AGENT_CLI_PATH`, `ENV_MANAGER_BIN`, this package's own, PATH.
    `stop_on_exit`: ends the daemon again where this one has started it.
    `service_timeout`: seconds for services to become ready; else `DSPY_AGENT_SERVICE_TIMEOUT`, 120.

    With `DSPY_AGENT_SKIP_START=1` nothing is looked for: the addresses are taken as they are, and the first call tells.
    """

    start = _Start()
    #: The same, under the name of the context manager.
    start_context = _Start()

    def __init__(
        self,
        orchestrator_addr: str | None = None,
        workspace: StrPath | None = None,
        auto_start_services: bool = True,
        cli_path: StrPath | None = None,
        *,
        stop_on_exit: bool = False,
        service_timeout: float | None = None,
    ) -> None:
        self.orchestrator_addr = orchestrator_addr
        self.workspace = workspace
        self.auto_start_services = auto_start_services
        self.cli_path = cli_path
        self.stop_on_exit = stop_on_exit
        self.service_timeout = service_timeout
        self._daemon: daemon.Daemon | None = None
        self._recorded: dict[str, int | float] = {}
        self._begun = False
        self._orchestrator: OrchestratorClient | None = None
        self._reconciler: ReconcilerClient | None = None

    @property
    def orchestrator(self) -> OrchestratorClient:
        """The task queue's client. Calls nobody until it is used."""
        if self._orchestrator is None:
            self._orchestrator = OrchestratorClient(self.orchestrator_addr)
        return self._orchestrator

    @property
    def reconciler(self) -> ReconcilerClient:
        """The daemon's own."""
        if self._reconciler is None:
            self._reconciler = ReconcilerClient()
        return self._reconciler

    @property
    def is_started(self) -> bool:
        return self._begun

    async def start_async(self) -> Self:
        """As `start`. A second time it does nothing.

        Raises:
            errors.NotReady: required services are not ready in time; says which, and why.
            errors.WrongStack: a daemon of another stack, or of other manifests, is at the address.
            errors.DaemonFailed: the daemon could not be started; its last lines are in the message.
            errors.BinaryNotFound, errors.WrongVersion: there is no program to start it.
            errors.Unavailable: no daemon answers, and none is to be started.
        """
        if self._begun:
            return self
        if not settings.truth("DSPY_AGENT_SKIP_START"):
            await self._find()
            if self.auto_start_services:
                timeout = self.service_timeout or settings.service_timeout()
                try:
                    await self._ready(timeout)
                except BaseException:
                    await self.stop()
                    raise
        self._begun = True
        return self

    async def _ready(self, timeout: float) -> None:
        begun = self._daemon
        if begun is None or begun.process is None:
            await self.reconciler.wait_ready(timeout=timeout)
            return
        waiting = asyncio.create_task(self.reconciler.wait_ready(timeout=timeout))
        attending = asyncio.create_task(daemon.attend(begun))
        try:
            done, _ = await asyncio.wait({waiting, attending}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            waiting.cancel()
            attending.cancel()
            await asyncio.gather(waiting, attending, return_exceptions=True)
            if begun.lines is not None:
                begun.lines.show()

    async def _find(self) -> None:
        wanted = await asyncio.to_thread(daemon.place, self.workspace, self.cli_path)
        orchestrator = self.orchestrator_addr or settings.text("ORCHESTRATOR_GRPC_ADDR")
        if orchestrator is not None and orchestrator.endswith(":0"):
            orchestrator = None  # any port: the daemon writes down which
        if self.auto_start_services:
            self._daemon = await daemon.find_or_start(wanted, orchestrator)
        else:
            self._daemon = await daemon.find(wanted)
            if self._daemon is None:
                raise errors.Unavailable(
                    f"no daemon answers at {wanted.address}, and auto_start_services is off", code="UNAVAILABLE"
                )
        self._reconciler = ReconcilerClient(self._daemon.address)
        self._orchestrator = OrchestratorClient(orchestrator or self._daemon.orchestrator)

    async def stop(self) -> None:
        """Closes the connections. Ends the daemon only where `stop_on_exit` is set and this one has started it."""
        for client in (self._orchestrator, self._reconciler):
            if client is not None:
                await client.close()
        self._orchestrator = self._reconciler = None
        begun, self._daemon, self._begun = self._daemon, None, False
        if self.stop_on_exit and begun is not None and begun.process is not None:
            await daemon.stop(begun.process)

    async def __aenter__(self) -> Self:
        return await self.start_async()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def submit_task(
        self,
        task_id: str | None,
        payload: Payload = None,
        task_class: str = "cpu_short",
        priority: int = 0,
        *,
        workflow_id: str = "",
        timeout: float | None = None,
    ) -> Submitted:
        """See [`OrchestratorClient.submit_task`]."""
        return await self.orchestrator.submit_task(
            task_id, payload, task_class, priority, workflow_id=workflow_id, timeout=timeout
        )

    async def submit_tasks(
        self, tasks: Iterable[NewTask | Mapping[str, Any]], *, timeout: float | None = None
    ) -> list[Submitted]:
        """See [`OrchestratorClient.submit_tasks`]."""
        return await self.orchestrator.submit_tasks(tasks, timeout=timeout)

    async def get_task_status(self, task_id: str, *, timeout: float | None = None) -> TaskStatus:
        """See [`OrchestratorClient.get_task_status`]."""
        return await self.orchestrator.get_task_status(task_id, timeout=timeout)

    async def wait_task(self, task_id: str, *, timeout: float | None = None) -> TaskResult:
        """See [`OrchestratorClient.wait_task`]."""
        return await self.orchestrator.wait_task(task_id, timeout=timeout)

    def stream_task_results(
        self, task_ids: Sequence[str] = (), *, include_completed: bool = True
    ) -> AsyncGenerator[TaskResult, None]:
        """See [`OrchestratorClient.stream_task_results`]."""
        return self.orchestrator.stream_task_results(task_ids, include_completed=include_completed)

    def stream_events(self, event_types: Sequence[str] = (), *, since: int = 0) -> AsyncGenerator[TaskEvent, None]:
        """See [`OrchestratorClient.stream_events`]."""
        return self.orchestrator.stream_events(event_types, since=since)

    async def cancel_task(self, task_id: str, reason: str = "", *, timeout: float | None = None) -> str:
        """See [`OrchestratorClient.cancel_task`]."""
        return await self.orchestrator.cancel_task(task_id, reason, timeout=timeout)

    async def health_check(self, *, timeout: float = 10.0) -> Health:
        """Whether the environment is well: every required service is ready, the engine answers, and tasks are taken.
        `services`: for each `ready`, or its phase; and `task_queue`, `off` where the daemon serves none. Does not raise
        where nobody answers: that is not healthy, and the words say so.
        """
        off = self._daemon is not None and self._daemon.queue_is_off and self.orchestrator_addr is None
        env, tasks = await asyncio.gather(
            self.reconciler.health_check(timeout=timeout),
            _nothing() if off else self.orchestrator.health_check(timeout=timeout),
            return_exceptions=True,
        )
        health: Health = {"healthy": True, "version": "", "services": {}}
        if isinstance(env, errors.RpcError):
            health["healthy"] = False
            health["services"]["env-manager"] = str(env)
        elif isinstance(env, BaseException):
            raise env
        else:
            health = env
        if isinstance(tasks, errors.RpcError):
            health["healthy"] = False
            health["services"][TASK_QUEUE] = str(tasks)
        elif isinstance(tasks, BaseException):
            raise tasks
        elif tasks is None:
            health["services"][TASK_QUEUE] = "off"
        else:
            wrong = [f"{name}: {word}" for name, word in sorted(tasks["services"].items())]
            health["healthy"] = health["healthy"] and tasks["healthy"]
            health["version"] = health["version"] or tasks["version"]
            health["services"][TASK_QUEUE] = "ready" if tasks["healthy"] else "; ".join(wrong) or "not healthy"
        return health

    async def get_metrics(self, *names: str, timeout: float | None = None) -> dict[str, int | float]:
        """The task queue's numbers, all or these, and those of `record_metric`: `env_queue_depth`, `gpu_wait_seconds`,
        `env_error_rate`, … Whole ones are `int`."""
        metrics = await self.orchestrator.get_metrics(*names, timeout=timeout)
        return {**metrics, **{name: value for name, value in self._recorded.items() if not names or name in names}}

    async def record_metric(self, name: str, value: float) -> None:
        """Keeps a number of the program's own, which `get_metrics` of this object then tells, too. It is not sent."""
        self._recorded[name] = value

    async def wait_healthy(self, *services: str, timeout: float | None = None) -> Convergence:
        """Until these services are ready; none: all required ones.

        Raises:
            errors.NotReady: after `timeout` seconds (by default as for `start`); says which are not, and why.
        """
        limit = self.service_timeout or settings.service_timeout() if timeout is None else timeout
        return await self.reconciler.wait_ready(*services, timeout=limit)

    def watch(self) -> AsyncGenerator[Convergence, None]:
        """The environment now, and again after each change."""
        return self.reconciler.watch()


async def _nothing() -> None:
    return None


_shared: AgentInfra | None = None
_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def ensure_infra(
    auto_start_services: bool = True,
    *,
    orchestrator_addr: str | None = None,
    workspace: StrPath | None = None,
    cli_path: StrPath | None = None,
) -> AgentInfra:
    """One [`AgentInfra`] that the whole program shares, started by the first who asks."""
    global _shared
    async with _locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        if _shared is None or not _shared.is_started:
            infra = AgentInfra(orchestrator_addr, workspace, auto_start_services, cli_path)
            _shared = await infra.start_async()
        return _shared


async def shutdown_infra() -> None:
    """Closes the shared one. Services and daemon stay."""
    global _shared
    infra, _shared = _shared, None
    if infra is not None:
        await infra.stop()


@contextlib.asynccontextmanager
async def use_infra(
    auto_start_services: bool = True,
    *,
    orchestrator_addr: str | None = None,
    workspace: StrPath | None = None,
    cli_path: StrPath | None = None,
) -> AsyncIterator[AgentInfra]:
    """The shared one, in a block. Leaving it leaves it open for others."""
    yield await ensure_infra(
        auto_start_services, orchestrator_addr=orchestrator_addr, workspace=workspace, cli_path=cli_path
    )


def orchestrator_client(address: str | None = None, *, timeout: float = 30.0) -> OrchestratorClient:
    """A client of the task queue alone: it looks for no daemon. `async with orchestrator_client() as client: …`"""
    return OrchestratorClient(address, timeout=timeout)


def __getattr__(name: str) -> Any:
    # It is built upon this module.
    if name == "ensure_infra_sync":
        from .sync import ensure_infra_sync

        return ensure_infra_sync
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
