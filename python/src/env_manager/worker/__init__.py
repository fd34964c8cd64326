"""Works on tasks: handlers are registered with [`task_handler`], and [`Worker`] gives them what it leases.

| module | what |
|---|---|
| `handlers` | which function does which class of tasks |
| `outcome` | runs a handler, and what comes of it |
| `frames`, `child` | the process of one slot, and how it is talked to; imports no gRPC |
| `slots` | slots: a process, a thread, or a task of a loop |
| `answers` | completes, fails and releases leases until the daemon has answered |
| `lanes` | the slots of one class, and the credit that they are worth |
| `worker` | the lease stream, heartbeats, drain |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .handlers import TaskContext, task_handler

if TYPE_CHECKING:
    from .worker import Worker

__all__ = ["TaskContext", "Worker", "task_handler"]


def __getattr__(name: str) -> Any:
    # A slot's process imports this package, and must not import gRPC with it.
    if name == "Worker":
        from .worker import Worker

        return Worker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
