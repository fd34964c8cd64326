"""Runs a handler, and says what came of it. Knows nothing of the wire."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import payload
from ..errors import PayloadError, PermanentError
from .handlers import TaskContext

#: Bytes of an error that are kept; the daemon cuts at 2,000.
MAX_ERROR = 1_900


@dataclass(frozen=True)
class Done:
    """`fields` of CompleteTaskRequest: `result_json` or `result_bytes`."""

    fields: dict[str, bytes]


@dataclass(frozen=True)
class Failed:
    error: str
    retryable: bool = True


@dataclass(frozen=True)
class Stopped:
    """Ended by us: nobody waits for what came of it."""


Outcome = Done | Failed | Stopped


def takes_context(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds for p in parameters) > 1 or any(p.kind is p.VAR_POSITIONAL for p in parameters)


def call(function: Callable[..., Any], value: payload.Payload, context: TaskContext) -> Any:
    """What the handler returns: for an `async` one something to await."""
    return function(value, context) if takes_context(function) else function(value)


def run(function: Callable[..., Any], kind: str, body: bytes, context: TaskContext) -> Outcome:
    """A handler that is not `async`."""
    try:
        return done(call(function, decoded(kind, body), context))
    except BaseException as error:
        return failed(error)


def decoded(kind: str, body: bytes) -> payload.Payload:
    """Raises:
    PermanentError: the payload is not JSON, and never will be.
    """
    if kind == "bytes":
        return body
    try:
        return payload.from_json(body)
    except PayloadError as error:
        raise PermanentError(f"the payload is {error}") from None


def done(value: Any) -> Outcome:
    if inspect.isawaitable(value):
        return Failed("the handler returned something to await: define it with `async def`", retryable=False)
    try:
        return Done(payload.fields("result", value))
    except PayloadError as error:
        return Failed(f"the handler's result is {error}", retryable=False)


def failed(error: BaseException) -> Failed:
    """The type and words first, then where: the end of the trace is what is cut away."""
    said = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in reversed(frames)]
    text = "\n  ".join([said, *where[:12]])
    cut = text.encode(errors="replace")[:MAX_ERROR].decode(errors="ignore")
    return Failed(cut, retryable=not isinstance(error, PermanentError))
