"""A pytest plugin: the fixture `agent_infra`. Importing it imports no gRPC: a test session that uses none pays nothing.

| fixture | what |
|---|---|
| `agent_infra` | an `AgentInfra`, for tests that are `async` (any runner) |
| `agent_infra_sync` | the same, synchronous |

Both find the daemon, or start it, once a session, and wait for required services. `agent_infra_workspace` in the ini
file (or `--agent-infra-workspace`) is the folder whose manifests it keeps; `agent_infra_stop = true` ends a daemon that
the session has started.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .infra import AgentInfra
    from .sync import AgentInfra as SyncAgentInfra


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("env-manager")
    group.addoption("--agent-infra-workspace", metavar="DIR", help="whose manifests the daemon of agent_infra keeps")
    parser.addini("agent_infra_workspace", "whose manifests the daemon of agent_infra keeps")
    parser.addini("agent_infra_stop", "end the daemon that agent_infra has started", type="bool", default=False)


@pytest.fixture(scope="session")
def _agent_infra_session(pytestconfig: pytest.Config) -> Iterator[SyncAgentInfra]:
    from .sync import AgentInfra

    workspace = pytestconfig.getoption("agent_infra_workspace") or pytestconfig.getini("agent_infra_workspace") or None
    if workspace:
        workspace = str(pytestconfig.rootpath / workspace)
    infra = AgentInfra.start(workspace=workspace, stop_on_exit=bool(pytestconfig.getini("agent_infra_stop")))
    yield infra
    infra.stop()


@pytest.fixture
def agent_infra(_agent_infra_session: SyncAgentInfra) -> AgentInfra:
    """`AgentInfra`, started. Its connections are made anew for the loop of each test."""
    return _agent_infra_session.infra


@pytest.fixture
def agent_infra_sync(_agent_infra_session: SyncAgentInfra) -> SyncAgentInfra:
    """The synchronous `AgentInfra`, started."""
    return _agent_infra_session
