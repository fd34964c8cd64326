"""Calls over one channel: deadlines, retries, typed errors, and what happens after a fork."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from . import errors
from .settings import dialled
from .v1 import details_pb2

Answer = TypeVar("Answer", bound=Message)

#: Seconds that one call has, where it is not said otherwise.
CALL_TIMEOUT = 30.0
#: Seconds after which a stream is asked for anew. A dead peer is noticed earlier, by its silence.
STREAM_TIMEOUT = 600.0
MAX_MESSAGE = 16 << 20

TYPES: dict[grpc.StatusCode, type[errors.RpcError]] = {
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgument,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidArgument,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: errors.PreconditionFailed,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
    grpc.StatusCode.UNIMPLEMENTED: errors.Unimplemented,
}
#: By google.rpc.Code, as `SubmitTaskResponse.code` has it.
BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def service_config(service: str, idempotent: frozenset[str]) -> str:
    """gRPC's own retries: on UNAVAILABLE alone, and only for calls that do no harm when they are made twice."""
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    names = [{"service": service, "method": method} for method in sorted(idempotent)]
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": policy}]})


def translated(error: grpc.aio.AioRpcError, what: str) -> errors.RpcError:
    """Our error for one of gRPC's. `what`: the call and its address, for people."""
    code = error.code()
    retry_after: float | None = None
    fields: dict[str, str] = {}
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            retry_after, fields = _details(cast(bytes, value))
    kind = TYPES.get(code, errors.RpcError)
    return kind(f"{what}: {error.details() or code.name}", code=code.name, retry_after=retry_after, fields=fields)


def _details(encoded: bytes) -> tuple[float | None, dict[str, str]]:
    retry_after: float | None = None
    fields: dict[str, str] = {}
    try:
        for detail in details_pb2.Status.FromString(encoded).details:
            name = detail.type_url.rpartition("/")[2]
            if name == "google.rpc.RetryInfo":
                retry_after = details_pb2.RetryInfo.FromString(detail.value).retry_delay.ToTimedelta().total_seconds()
            elif name == "google.rpc.BadRequest":
                for wrong in details_pb2.BadRequest.FromString(detail.value).field_violations:
                    fields[wrong.field] = wrong.description
            elif name == "google.rpc.PreconditionFailure":
                for unmet in details_pb2.PreconditionFailure.FromString(detail.value).violations:
                    fields[unmet.subject] = unmet.description
    except DecodeError:
        pass  # the message has told already
    return retry_after, fields


class Rpc:
    """A service at an address. The channel is made at the first call, one for each loop. After a fork every call raises
    [`errors.ForkedProcess`] instead of hanging."""

    def __init__(self, address: str, service: str, idempotent: frozenset[str]) -> None:
        self.address = dialled(address)
        self.service = service
        self._config = service_config(service, idempotent)
        self._process = os.getpid()
        self._channels: WeakKeyDictionary[asyncio.AbstractEventLoop, grpc.aio.Channel] = WeakKeyDictionary()

    def channel(self) -> grpc.aio.Channel:
        if os.getpid() != self._process:
            raise errors.ForkedProcess(
                f"this client was made in process {self._process}, before a fork: make one in process {os.getpid()}"
            )
        loop = asyncio.get_running_loop()
        if loop not in self._channels:
            options: list[tuple[str, Any]] = [
                ("grpc.service_config", self._config),
                ("grpc.enable_retries", 1),
                ("grpc.max_receive_message_length", MAX_MESSAGE),
                ("grpc.max_send_message_length", MAX_MESSAGE),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.initial_reconnect_backoff_ms", 200),
                ("grpc.min_reconnect_backoff_ms", 200),
                ("grpc.max_reconnect_backoff_ms", 2_000),
                # Two clients of one process that talk to one daemon do not share what breaks.
                ("grpc.use_local_subchannel_pool", 1),
            ]
            if self.address.startswith("unix:"):
                options.append(("grpc.default_authority", "localhost"))
            self._channels[loop] = grpc.aio.insecure_channel(self.address, options=options)
        return self._channels[loop]

    async def call(self, method: str, request: Message, answer: type[Answer], timeout: float | None = None) -> Answer:
        """One request, one answer, within `timeout` seconds.

        Raises:
            errors.RpcError: one of its kinds, by the status.
        """
        ask = self.channel().unary_unary(
            f"/{self.service}/{method}",
            request_serializer=_encode,
            response_deserializer=answer.FromString,
        )
        try:
            return await ask(request, timeout=CALL_TIMEOUT if timeout is None else timeout)
        except grpc.aio.AioRpcError as error:
            raise translated(error, f"{method} at {self.address}") from None

    async def stream(
        self, method: str, request: Message, answer: type[Answer], timeout: float | None = None
    ) -> AsyncGenerator[Answer, None]:
        """One request, many answers; the whole within `timeout` seconds.

        Raises:
            errors.RpcError: one of its kinds, by the status.
        """
        ask = self.channel().unary_stream(
            f"/{self.service}/{method}",
            request_serializer=_encode,
            response_deserializer=answer.FromString,
        )
        answers = ask(request, timeout=STREAM_TIMEOUT if timeout is None else timeout)
        try:
            async for message in answers:
                yield message
        except grpc.aio.AioRpcError as error:
            raise translated(error, f"{method} at {self.address}") from None
        finally:
            answers.cancel()

    def converse(self, method: str, answer: type[Answer]) -> grpc.aio.StreamStreamCall[Any, Answer]:
        """A stream both ways. Its deadline is its owner's business."""
        ask = self.channel().stream_stream(
            f"/{self.service}/{method}",
            request_serializer=_encode,
            response_deserializer=answer.FromString,
        )
        return cast("grpc.aio.StreamStreamCall[Any, Answer]", ask())

    async def close(self) -> None:
        channel = self._channels.pop(asyncio.get_running_loop(), None)
        if channel is not None and os.getpid() == self._process:
            await channel.close()


def _encode(message: Message) -> bytes:
    return message.SerializeToString()


async def until_answered(
    ask: Callable[[], Awaitable[Answer]], pause: Callable[[errors.RpcError], Awaitable[None]]
) -> Answer:
    """Asks again as long as it is the connection or the daemon's Redis that fails. `pause` is awaited in between, and
    ends it by raising."""
    while True:
        try:
            return await ask()
        except errors.RpcError as error:
            if not passing(error):
                raise
            await pause(error)


def passing(error: errors.RpcError) -> bool:
    """Whether the same call may succeed later."""
    if isinstance(error, errors.Unavailable | errors.DeadlineExceeded):
        return True
    return error.retry_after is not None or error.code in {"CANCELLED", "ABORTED", "INTERNAL", "UNKNOWN"}
