"""Payloads and results: JSON with its types kept, or bytes as they are."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from .errors import PayloadError

#: What JSON can say, or bytes.
Payload: TypeAlias = Any


class Carrier(Protocol):
    """A message with `NAME`, `NAME_json` and `NAME_bytes`."""

    def HasField(self, name: str, /) -> bool: ...


def to_json(value: Payload) -> bytes:
    """As the wire has it: UTF-8, no spaces.

    Raises:
        PayloadError: it holds NaN or an infinity, a key that is no text, or something that JSON has no word for; the
            message says where.
    """
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        where = _culprit(value, "$", set())
        raise PayloadError(f"not JSON: {where or error}") from None


def from_json(text: bytes) -> Payload:
    """What [`to_json`] wrote, or another program.

    Raises:
        PayloadError: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"not JSON: {error}") from None


def fields(name: str, value: Payload) -> dict[str, Any]:
    """Of a message, for a payload or result: `payload_bytes` for bytes, else `payload_json`."""
    if isinstance(value, bytes | bytearray | memoryview):
        return {f"{name}_bytes": bytes(value)}
    return {f"{name}_json": to_json(value)}


def read(name: str, message: Any) -> Payload:
    """The payload or result of a message; `None` where it has none. An old client's map comes as a dict of texts."""
    as_json: bytes = getattr(message, f"{name}_json")
    as_bytes: bytes = getattr(message, f"{name}_bytes")
    if as_json:
        return from_json(as_json)
    if as_bytes:
        return as_bytes
    return dict(getattr(message, name)) or None


def integral(metrics: Mapping[str, float]) -> dict[str, int | float]:
    """Numbers that are whole come back as `int`."""
    return {name: int(value) if value.is_integer() else value for name, value in metrics.items()}


def _culprit(value: object, path: str, above: set[int]) -> str | None:
    """Where and what is wrong, for people."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{path} is {value!r}, and JSON has no such number"
    if value is None or isinstance(value, str | int | float):
        return None
    if id(value) in above or len(above) > 200:
        return f"{path} holds itself, or is nested too deep"
    inner = above | {id(value)}
    if isinstance(value, dict):
        for key, item in value.items():
            if not (key is None or isinstance(key, str | int | float)):
                return f"a key of {path} is a {type(key).__name__}"
            if found := _culprit(item, f"{path}.{key}", inner):
                return found
        return None
    if isinstance(value, list | tuple):
        found_all = (_culprit(item, f"{path}[{index}]", inner) for index, item in enumerate(value))
        return next(filter(None, found_all), None)
    return f"{path} is a {type(value).__name__}"
