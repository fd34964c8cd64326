"""env-manager from Python: [`AgentInfra`], the task queue's client, workers.

Names are imported when they are first used: importing this package (as worker processes and the pytest plugin do) does
not import gRPC.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import _dspy_agent

if TYPE_CHECKING:
    from .client import OrchestratorClient
    from .errors import (
        AlreadyExists,
        BinaryNotFound,
        DaemonFailed,
        DeadlineExceeded,
        EnvManagerError,
        ForkedProcess,
        HandlerError,
        InvalidArgument,
        NotFound,
        NotReady,
        PayloadError,
        PermanentError,
        PermissionDenied,
        PreconditionFailed,
        ResourceExhausted,
        RpcError,
        Unavailable,
        Unimplemented,
        WrongStack,
        WrongVersion,
    )
    from .infra import AgentInfra, ensure_infra, orchestrator_client, shutdown_infra, use_infra
    from .reconciler import Convergence, ReconcilerClient, Service
    from .sync import ensure_infra_sync, shutdown_infra_sync
    from .worker import TaskContext, Worker, task_handler

_HOME = {
    "client": ["OrchestratorClient"],
    "errors": [
        "AlreadyExists", "BinaryNotFound", "DaemonFailed", "DeadlineExceeded", "EnvManagerError", "ForkedProcess",
        "HandlerError", "InvalidArgument", "NotFound", "NotReady", "PayloadError", "PermanentError", "PermissionDenied",
        "PreconditionFailed", "ResourceExhausted", "RpcError", "Unavailable", "Unimplemented", "WrongStack",
        "WrongVersion",
    ],
    "infra": ["AgentInfra", "ensure_infra", "orchestrator_client", "shutdown_infra", "use_infra"],
    "reconciler": ["Convergence", "ReconcilerClient", "Service"],
    "sync": ["ensure_infra_sync", "shutdown_infra_sync"],
    "worker": ["TaskContext", "Worker", "task_handler"],
}  # fmt: skip
_MODULES = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "AgentInfra",
    "AlreadyExists",
    "BinaryNotFound",
    "Convergence",
    "DaemonFailed",
    "DeadlineExceeded",
    "EnvManagerError",
    "ForkedProcess",
    "HandlerError",
    "InvalidArgument",
    "NotFound",
    "NotReady",
    "OrchestratorClient",
    "PayloadError",
    "PermanentError",
    "PermissionDenied",
    "PreconditionFailed",
    "ReconcilerClient",
    "ResourceExhausted",
    "RpcError",
    "Service",
    "TaskContext",
    "Unavailable",
    "Unimplemented",
    "Worker",
    "WrongStack",
    "WrongVersion",
    "__version__",
    "ensure_infra",
    "ensure_infra_sync",
    "orchestrator_client",
    "shutdown_infra",
    "shutdown_infra_sync",
    "task_handler",
    "use_infra",
]

_dspy_agent.install()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from .binary import package_version

        return package_version() or "0+not.installed"
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
