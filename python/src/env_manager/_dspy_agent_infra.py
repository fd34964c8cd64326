"""What `dspy_agent.infra` is: the same names as of `env_manager`."""

from __future__ import annotations

from env_manager.client import OrchestratorClient
from env_manager.infra import AgentInfra, ensure_infra, orchestrator_client, shutdown_infra, use_infra
from env_manager.sync import ensure_infra_sync

__all__ = [
    "AgentInfra",
    "OrchestratorClient",
    "ensure_infra",
    "ensure_infra_sync",
    "orchestrator_client",
    "shutdown_infra",
    "use_infra",
]
