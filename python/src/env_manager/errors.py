"""Everything that can go wrong, as types. All are [`EnvManagerError`]s; each says in its text what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class EnvManagerError(Exception):
    """Of this package."""


class RpcError(EnvManagerError):
    """A call was refused, or could not be made.

    `code`: gRPC's word for it, as `UNAVAILABLE`. `retry_after`: seconds after which asking again makes sense, where the
    daemon said so. `fields`: what is wrong with which field of the request, or with which setting.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        retry_after: float | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after
        self.fields = dict(fields or {})


class Unavailable(RpcError, ConnectionError):
    """Nobody answers, or the daemon is ending, or its Redis is away."""


class DeadlineExceeded(RpcError, TimeoutError):
    """No answer within the call's time-out. It may have taken effect."""


class InvalidArgument(RpcError, ValueError):
    """A value that cannot be right."""


class NotFound(RpcError, LookupError):
    """There is no such task or service."""


class AlreadyExists(RpcError):
    """There is a task of that id, with other content."""


class PreconditionFailed(RpcError):
    """Not in this state: Redis could lose tasks, or a task has ended that was to be cancelled."""


class ResourceExhausted(RpcError):
    """A limit: the backlog is full, a payload too large, Redis has no memory left."""


class PermissionDenied(RpcError, PermissionError):
    """Not for callers from there."""


class Unimplemented(RpcError, NotImplementedError):
    """The daemon does not have this, or not switched on."""


class ForkedProcess(EnvManagerError, RuntimeError):
    """The client was made before a fork: gRPC does not work across it. Make a client in the child."""


class PayloadError(EnvManagerError, ValueError):
    """A payload or a result that is not JSON."""


class BinaryNotFound(EnvManagerError, FileNotFoundError):
    """The program `env-manager` is nowhere that is looked at."""


class WrongVersion(EnvManagerError):
    """The program found is of another version than this package."""


class DaemonFailed(EnvManagerError):
    """A daemon that was started ended, or did not answer in time. `lines`: what it wrote last."""

    def __init__(self, message: str, *, exit_code: int | None = None, lines: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *(f"  {line}" for line in lines)]))
        self.exit_code = exit_code
        self.lines = list(lines)


class WrongStack(EnvManagerError):
    """A daemon answers at the address, and keeps another stack or other manifests."""


class NotReady(EnvManagerError, TimeoutError):
    """Services did not become ready in time. `services`: for each of them, why."""

    def __init__(self, message: str, *, services: Mapping[str, str]) -> None:
        super().__init__("\n".join([message, *(f"  {name}: {why}" for name, why in sorted(services.items()))]))
        self.services = dict(services)


class PermanentError(EnvManagerError):
    """Raised by a handler: the task cannot succeed, and is not tried again."""


class HandlerError(EnvManagerError):
    """A handler that cannot be used: not found, registered twice, not callable."""
