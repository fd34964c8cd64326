"""What a worker and the process of a slot say to each other: a JSON header and a body, each with its length."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

_LENGTHS = struct.Struct("!II")
Header = dict[str, Any]


def encode(header: Header, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return _LENGTHS.pack(len(text), len(body)) + text + body


async def read(reader: asyncio.StreamReader) -> tuple[Header, bytes]:
    """Raises:
    asyncio.IncompleteReadError, ConnectionError: the other end is gone.
    """
    text, body = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
    header: Header = json.loads(await reader.readexactly(text))
    return header, await reader.readexactly(body)


def receive(connection: socket.socket) -> tuple[Header, bytes]:
    """As [`read`], without a loop.

    Raises:
        ConnectionError: the other end is gone.
    """
    text, body = _LENGTHS.unpack(_exactly(connection, _LENGTHS.size))
    header: Header = json.loads(_exactly(connection, text))
    return header, _exactly(connection, body)


def _exactly(connection: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = connection.recv(min(length - len(parts), 1 << 20))
        if not part:
            raise ConnectionResetError("the worker is gone")
        parts += part
    return bytes(parts)
