"""The daemon itself: whether the environment is well, and what it is waiting for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from . import errors, payload, settings
from .client import Health
from .rpc import Rpc
from .settings import Backoff
from .v1 import reconciler_pb2 as pb

SERVICE = "env_manager.v1.ReconcilerService"
#: Calls that may be made twice. A second Restart would restart again.
IDEMPOTENT = frozenset(
    {
        "GetHealth", "GetConvergence", "WatchConvergence", "GetQueueMetrics", "GetMetrics", "Sync", "Suspend", "Resume",
        "Retry", "ListEvents", "WatchEvents", "DescribeService", "ReadLogs",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Service:
    """A service at one moment."""

    name: str
    required: bool
    ready: bool
    converged: bool
    #: For people: Pending, Blocked, Starting, Ready, …
    phase: str
    #: For programs: docs/operations.md.
    reason: str
    message: str

    def why(self) -> str:
        """Why it is not ready, in one line."""
        return ": ".join(part for part in (self.phase, self.message or self.reason) if part)


@dataclass(frozen=True)
class Convergence:
    """The environment at one moment."""

    converged: bool
    #: Every required service is ready, and the engine answers.
    healthy: bool
    stack: str
    #: Where the manifests are; absolute.
    source: str
    #: Of the manifests; empty: they have not been read yet.
    revision: str
    #: Why the engine does not answer; empty where it does.
    engine_error: str
    services: dict[str, Service] = field(default_factory=dict)

    def missing(self, names: tuple[str, ...] = ()) -> dict[str, str]:
        """Of these services, or of all required ones: which are not ready, and why."""
        wanted = names or tuple(name for name, service in self.services.items() if service.required)
        missing = {}
        for name in wanted:
            service = self.services.get(name)
            if service is None:
                missing[name] = "there is no service of that name"
            elif not (service.ready or service.phase == "Completed"):
                missing[name] = service.why()
        return missing


class ReconcilerClient:
    """Of `env_manager.v1.ReconcilerService`.

    `address`: `host:port`, or `unix:/path`; `None`: `ENV_MANAGER_GRPC_ADDR`, else `127.0.0.1:50100`.
    """

    def __init__(self, address: str | None = None, *, timeout: float = 30.0) -> None:
        address = address or settings.text("ENV_MANAGER_GRPC_ADDR") or f"127.0.0.1:{settings.RECONCILER_PORT}"
        self.rpc = Rpc(address, SERVICE, IDEMPOTENT)
        self.timeout = timeout

    @property
    def address(self) -> str:
        return self.rpc.address

    async def health_check(self, *, timeout: float | None = None) -> Health:
        """Cheap: the daemon answers from memory. Each service has `ready`, or its phase in lower case."""
        answer = await self.rpc.call("GetHealth", pb.GetHealthRequest(), pb.GetHealthResponse, self._within(timeout))
        return {"healthy": answer.healthy, "version": answer.version, "services": dict(answer.services)}

    async def convergence(self, *, timeout: float | None = None) -> Convergence:
        request = pb.GetConvergenceRequest()
        answer = await self.rpc.call("GetConvergence", request, pb.GetConvergenceResponse, self._within(timeout))
        return _convergence(answer.convergence, _services(answer.convergence))

    async def get_metrics(self, *names: str, timeout: float | None = None) -> dict[str, int | float]:
        request = pb.GetMetricsRequest(names=names)
        answer = await self.rpc.call("GetMetrics", request, pb.GetMetricsResponse, self._within(timeout))
        return payload.integral(answer.metrics)

    async def watch(self) -> AsyncGenerator[Convergence, None]:
        """The environment now, and again after each change, without end; each time the whole. Goes on by itself when
        the daemon is away for a while."""
        backoff = Backoff.from_environment()
        while True:
            services: dict[str, Service] = {}
            try:
                request = pb.WatchConvergenceRequest()
                stream = self.rpc.stream("WatchConvergence", request, pb.WatchConvergenceResponse)
                async with aclosing(stream) as all_news:
                    async for news in all_news:
                        backoff.reset()
                        if news.whole:
                            services.clear()
                        services.update(_services(news.convergence))
                        for name in news.removed:
                            services.pop(name, None)
                        yield _convergence(news.convergence, dict(services))
            except errors.DeadlineExceeded:
                continue
            except errors.Unavailable as error:
                await asyncio.sleep(error.retry_after or backoff.next())

    async def wait_ready(self, *names: str, timeout: float) -> Convergence:
        """Until these services, or all required ones, are ready.

        Raises:
            errors.NotReady: after `timeout` seconds; says which are not, and why.
        """
        last: Convergence | None = None
        try:
            async with asyncio.timeout(timeout), aclosing(self.watch()) as moments:
                async for last in moments:
                    if last.revision and (not last.missing(names) if names else last.healthy):
                        return last
        except TimeoutError as error:
            if isinstance(error, errors.EnvManagerError):
                raise
        raise _not_ready(last, names, timeout, self.address)

    async def close(self) -> None:
        await self.rpc.close()

    def _within(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else timeout


def _not_ready(last: Convergence | None, names: tuple[str, ...], timeout: float, address: str) -> errors.NotReady:
    if last is None:
        return errors.NotReady(f"the daemon at {address} did not answer within {timeout:g} s", services={})
    if last.engine_error:
        return errors.NotReady(f"Docker does not answer: {last.engine_error}", services=last.missing(names))
    if not last.revision:
        return errors.NotReady(f"the manifests at {last.source} are not read after {timeout:g} s", services={})
    return errors.NotReady(f"not ready within {timeout:g} s:", services=last.missing(names))


def _services(message: Any) -> dict[str, Service]:
    return {
        one.name: Service(
            name=one.name,
            required=one.required,
            ready=one.ready,
            converged=one.converged,
            phase=one.phase,
            reason=one.reason,
            message=one.message,
        )
        for one in message.services
    }


def _convergence(message: Any, services: dict[str, Service]) -> Convergence:
    engine = message.engine
    return Convergence(
        converged=message.converged,
        healthy=message.healthy,
        stack=message.stack,
        source=message.source.location,
        revision=message.source.short_revision or message.source.revision,
        engine_error="" if engine.reachable or not engine.ByteSize() else engine.message or "it is not reached",
        services=services,
    )
