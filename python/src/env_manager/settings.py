"""What the environment says, and addresses."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

from .errors import InvalidArgument

RECONCILER_PORT = 50100
ORCHESTRATOR_PORT = 50052

#: Seconds that required services have to become ready.
SERVICE_TIMEOUT = 120.0
#: Seconds until the first try to reconnect; doubled with each, up to [`LONGEST_BACKOFF`].
RECONNECT_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0


def text(name: str) -> str | None:
    """A variable. One that is set to nothing is not set."""
    return os.environ.get(name) or None


def truth(name: str) -> bool:
    """A variable that is on or off, as env-manager reads them."""
    word = (text(name) or "false").lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise InvalidArgument(f"{name} is `{word}`: true or false is needed", code="INVALID_ARGUMENT")


def seconds(name: str, default: float) -> float:
    """A variable that is a number of seconds, above 0."""
    word = text(name)
    if word is None:
        return default
    try:
        value = float(word.removesuffix("s"))
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise InvalidArgument(f"{name} is `{word}`: a number of seconds above 0 is needed", code="INVALID_ARGUMENT")
    return value


def service_timeout() -> float:
    """`DSPY_AGENT_SERVICE_TIMEOUT`, in seconds."""
    return seconds("DSPY_AGENT_SERVICE_TIMEOUT", SERVICE_TIMEOUT)


def dialled(address: str) -> str:
    """A listening address as one to call: `0.0.0.0` and `[::]` are this machine."""
    for scheme in ("http://", "grpc://", "dns:///"):
        address = address.removeprefix(scheme)
    address = address.rstrip("/")
    if address.startswith("unix:"):
        return address
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidArgument(f"`{address}` is no address: host:port is needed", code="INVALID_ARGUMENT")
    return f"{'127.0.0.1' if host in ('0.0.0.0', '[::]') else host}:{port}"


def is_local(address: str) -> bool:
    """Whether a daemon there would run on this machine."""
    host = dialled(address).rpartition(":")[0]
    return address.startswith("unix:") or host in {"localhost", "[::1]"} or host.startswith("127.")


@dataclass
class Backoff:
    """Pauses between tries: from `first` seconds on, doubled, up to `longest`, a fifth more or less."""

    first: float = RECONNECT_BACKOFF
    longest: float = LONGEST_BACKOFF
    failures: int = 0

    @classmethod
    def from_environment(cls) -> Backoff:
        """`DSPY_AGENT_RECONNECT_BACKOFF`, in seconds, is the first pause."""
        return cls(first=seconds("DSPY_AGENT_RECONNECT_BACKOFF", RECONNECT_BACKOFF))

    def next(self) -> float:
        """The next pause, in seconds."""
        pause = min(self.longest, self.first * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return pause * random.uniform(0.8, 1.2)

    def reset(self) -> None:
        self.failures = 0
