"""A real daemon of a test's own: its stack, its manifests, its Redis, its state; and an end to all of them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

IMAGE = "em-test/busybox:1"
LABEL = "dev.env-manager.stack"


def binary() -> str:
    """The program under test."""
    path = os.environ.get("ENV_MANAGER_TEST_BIN")
    assert path, "ENV_MANAGER_TEST_BIN names the program: tests/python.rs sets it"
    return path


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Redis:
    """`redis-server`, durable."""

    def __init__(self, folder: Path) -> None:
        assert shutil.which("redis-server"), "redis-server is needed: deploy/test-tools installs it"
        self.port, self.folder = free_port(), folder
        folder.mkdir()
        self.start()

    def start(self) -> None:
        options = [
            "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--appendonly", "yes",
            "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", "",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(["redis-server", *options], stdout=log, stderr=log)
        until("Redis to answer", self.answers)

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Rig:
    """Variables point to it: whatever the package starts or finds is of this rig."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch, name: str) -> None:
        self.home = home
        self.stack = f"em-test-py-{name}-{os.getpid()}"
        self.redis = Redis(home / "redis")
        self.manifests = home / "w" / "manifests"
        self.manifests.mkdir(parents=True)
        self.write(
            "stack.yaml",
            "apiVersion: env-manager.dev/v1\nkind: Stack\nmetadata: { name: stack }\n"
            f'spec: {{ containerName: "{self.stack}-{{service}}", stop: {{ gracePeriod: 5s }} }}\n',
        )
        self.variables = {
            "ENV_MANAGER_BIN": binary(),
            "ENV_MANAGER_STACK": self.stack,
            "ENV_MANAGER_STATE_DIR": str(home / "state"),
            "ENV_MANAGER_MANIFESTS": str(self.manifests),
            "ENV_MANAGER_GRPC_ADDR": "127.0.0.1:0",
            "ENV_MANAGER_METRICS_ADDR": "127.0.0.1:0",
            "ENV_MANAGER_TASKS_REDIS": f"redis://127.0.0.1:{self.redis.port}",
            "ENV_MANAGER_TASKS_RETRY_INITIAL": "100ms",
            # One that stays over restarts of the daemon.
            "ORCHESTRATOR_GRPC_ADDR": f"127.0.0.1:{free_port()}",
            "ORCHESTRATOR_HTTP_ADDR": "127.0.0.1:0",
            "DSPY_AGENT_SERVICE_TIMEOUT": "60",
        }
        for variable, value in self.variables.items():
            patch.setenv(variable, value)

    def write(self, file: str, text: str) -> None:
        (self.manifests / file).write_text(text)

    def service(self, name: str, body: str = "") -> None:
        """Ready as soon as it runs, unless the body says otherwise."""
        spec = f"  image: {IMAGE}\n  pullPolicy: Never\n  command: [sleep, '1000000']\n"
        spec += "".join(f"  {line}\n" for line in body.splitlines())
        head = f"apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:\n"
        self.write(f"{name}.yaml", head + spec)

    @property
    def pid(self) -> int:
        """Of the daemon."""
        written = json.loads((self.home / "state" / self.stack / "daemon.json").read_text())
        return int(written["pid"])

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ends the daemon, and waits for its end."""
        try:
            pid = self.pid
            os.kill(pid, number)
        except (OSError, ValueError):
            return
        until("the daemon to end", lambda: not runs(pid))

    def containers(self) -> list[str]:
        return docker("ps", "--filter", f"label={LABEL}={self.stack}", "--format", "{{.Names}}").split()

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        self.redis.kill()
        for kind, remove in [
            ("container", ["rm", "--force"]), ("network", ["network", "rm"]), ("volume", ["volume", "rm", "--force"]),
        ]:  # fmt: skip
            everything = ["--all"] if kind == "container" else []
            listed = docker(kind, "ls", *everything, "--quiet", "--filter", f"label={LABEL}={self.stack}").split()
            if listed:
                docker(*remove, *listed)
        with contextlib.suppress(subprocess.CalledProcessError):
            docker("volume", "rm", "--force", f"env-manager-lease-{self.stack}")


def runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def until(what: str, state: object, timeout: float = 60.0) -> None:
    """Asks for a state until it is reached."""
    assert callable(state)
    end = time.monotonic() + timeout
    while not state():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def rigged(home: Path, patch: pytest.MonkeyPatch, name: str) -> Iterator[Rig]:
    rig = Rig(home, patch, name)
    try:
        yield rig
    finally:
        rig.close()
