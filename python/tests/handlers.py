"""Handlers that a worker's processes load."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from env_manager import PermanentError, TaskContext


def do(payload: Any, context: TaskContext) -> Any:
    """What the payload asks for."""
    assert "grpc" not in sys.modules, "a slot's process has imported gRPC"
    match payload:
        case {"raise": "permanent"}:
            raise PermanentError("it cannot be")
        case {"raise": words}:
            raise ValueError(words)
        case {"exit": code}:
            os._exit(code)
        case {"signal": number}:
            os.kill(os.getpid(), number)
        case {"block": file}:
            Path(file).write_text(str(os.getpid()))
            signal.pause()
        case {"wait for": file}:
            Path(file + ".begun").write_text(str(os.getpid()))
            gate = threading.Event()
            while not Path(file).exists():
                gate.wait(0.01)
            return "waited"
        case {"nan": True}:
            return {"loss": float("nan")}
        case {"context": True}:
            return [context.task_id, context.task_class, context.attempt, context.max_attempts, os.getpid()]
        case {"bytes": True}:
            return b"\x00\xff"
        case {"print": words}:
            print(words)
            return None
    return {"got": payload}


async def do_async(payload: Any) -> Any:
    import asyncio

    match payload:
        case {"raise": words}:
            raise ValueError(words)
        case {"block": file}:
            Path(file).write_text("begun")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                Path(file).write_text("cancelled")
                raise
    return {"got": payload}


class Nested:
    @staticmethod
    def do(payload: Any) -> Any:
        return {"nested": payload}
