"""Finds the daemon of a stack, or starts it: two programs that ask at once get one daemon."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from . import binary, errors, settings
from .reconciler import ReconcilerClient

#: Seconds that a daemon has to answer after it was started, and one that is found to tell who it is.
BEGIN = 60.0
ANSWER = 5.0
#: Seconds that a daemon has to end after SIGTERM.
END = 20.0
#: Lines of a failed daemon's log that are shown.
LAST_LINES = 15
_POLL = 0.05

#: Of daemons that this process has started, so that they are waited for when they end.
_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Place:
    """What daemon is wanted."""

    stack: str
    state_dir: Path
    #: `None`: whichever manifests it keeps.
    manifests: Path | None
    #: Of its configuration, as one would call it.
    address: str
    #: Where it is started.
    folder: Path
    #: `None`: there is none, and none can be started.
    program: Path | None
    #: Why there is none.
    why_no_program: str = ""

    @property
    def home(self) -> Path:
        return self.state_dir / self.stack

    @property
    def log(self) -> Path:
        return self.home / "daemon.log"


@dataclass
class Daemon:
    """One that answers."""

    address: str
    #: Of the task queue, where the daemon has written it down.
    orchestrator: str | None
    #: It serves no task queue.
    queue_is_off: bool = False
    #: This process has started it.
    process: subprocess.Popen[bytes] | None = None
    #: What it writes, while somebody waits for it.
    lines: Relay | None = None


def place(workspace: str | os.PathLike[str] | None, cli_path: str | os.PathLike[str] | None) -> Place:
    """What the configuration says, by the program's own reading of it, or without it by the environment's.

    Raises:
        errors.DaemonFailed: the configuration is wrong; the program has said how.
        errors.BinaryNotFound: `cli_path` (or a variable for it) names no program.
    """
    folder = Path(workspace).expanduser().resolve() if workspace else Path.cwd()
    manifests = None
    if workspace:
        manifests = folder / "manifests" if (folder / "manifests").exists() else folder
    program, why = None, ""
    try:
        program = binary.find(cli_path)
    except (errors.BinaryNotFound, errors.WrongVersion) as error:
        if cli_path:
            raise
        why = str(error)
    shown: dict[str, Any] = _shown(program, folder) if program else {}

    def value(key: str, variable: str, default: str) -> tuple[str, bool]:
        """And whether somebody has set it."""
        if key in shown:
            return str(shown[key]["value"]), shown[key]["origin"] != "default"
        return settings.text(variable) or default, settings.text(variable) is not None

    state_home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    state_dir, _ = value("state_dir", "ENV_MANAGER_STATE_DIR", f"{state_home}/env-manager")
    stack, _ = value("stack", "ENV_MANAGER_STACK", "default")
    configured, is_set = value("manifests", "ENV_MANAGER_MANIFESTS", "./manifests")
    if manifests is None and is_set:
        manifests = folder / Path(configured).expanduser()
    address, _ = value("grpc_addr", "ENV_MANAGER_GRPC_ADDR", f"127.0.0.1:{settings.RECONCILER_PORT}")
    return Place(
        stack=stack,
        state_dir=folder / Path(state_dir).expanduser(),
        manifests=manifests,
        address=settings.dialled(address),
        folder=folder,
        program=program,
        why_no_program=why,
    )


def _shown(program: Path, folder: Path) -> dict[str, Any]:
    ran = subprocess.run(
        [program, "config", "show", "-o", "json"], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    if ran.returncode != 0:
        raise errors.DaemonFailed(
            f"{program} does not take its configuration", exit_code=ran.returncode, lines=ran.stderr.splitlines()
        )
    shown: dict[str, Any] = json.loads(ran.stdout)
    return shown


async def find(place: Place) -> Daemon | None:
    """The daemon of this stack, where one answers: the one that the state directory tells of, else at the address of
    the configuration.

    Raises:
        errors.WrongStack: who answers keeps another stack, or other manifests.
    """
    written = _written(place)
    own = written.get("grpc") or (f"unix:{written['socket']}" if written.get("socket") else None)
    candidates = [settings.dialled(own)] if own else []
    if not place.address.endswith(":0"):
        candidates.append(place.address)
    for address in dict.fromkeys(candidates):
        # What an old file tells of may be somebody else's by now, which matters only where this one would serve, too.
        passed_over = address != place.address
        if await _listens(address) and await _is_of(place, address, passed_over=passed_over):
            if own is None or address != settings.dialled(own):
                return Daemon(address, None)
            tasks = written.get("tasksGrpc")
            return Daemon(
                address, settings.dialled(tasks) if tasks else None, queue_is_off="tasksGrpc" in written and not tasks
            )
    return None


def _written(place: Place) -> dict[str, Any]:
    try:
        written = json.loads((place.home / "daemon.json").read_text())
    except (OSError, ValueError):
        return {}
    return written if isinstance(written, dict) else {}


async def _listens(address: str) -> bool:
    """Whether a connection is taken; gRPC would try for a while."""
    try:
        async with asyncio.timeout(ANSWER):
            if address.startswith("unix:"):
                _, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
            else:
                host, _, port = address.rpartition(":")
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _is_of(place: Place, address: str, *, passed_over: bool) -> bool:
    client = ReconcilerClient(address)
    try:
        now = await client.convergence(timeout=ANSWER)
    except errors.Unavailable:
        return False  # it is ending
    except errors.RpcError as error:
        if passed_over:
            return False
        raise errors.WrongStack(f"what answers at {address} is no env-manager: {error}") from None
    finally:
        await client.close()
    if now.stack != place.stack:
        if passed_over:
            return False
        raise errors.WrongStack(
            f"the daemon at {address} keeps stack {now.stack}, not {place.stack}: set ENV_MANAGER_STACK, or "
            "ENV_MANAGER_GRPC_ADDR to the address of another one"
        )
    if place.manifests and settings.is_local(address) and Path(now.source).resolve() != place.manifests.resolve():
        raise errors.WrongStack(
            f"the daemon at {address} keeps the manifests in {now.source}, not those in {place.manifests}"
        )
    return True


async def find_or_start(place: Place, orchestrator: str | None = None, echo: TextIO | None = None) -> Daemon:
    """`orchestrator`: where the task queue is to be served. `echo`: where the daemon's log lines go until it answers;
    stderr by default.

    Raises:
        errors.WrongStack: as [`find`].
        errors.BinaryNotFound: no daemon runs, and there is no program to start.
        errors.DaemonFailed: it was started, and ended or did not answer; its last lines are in the message.
    """
    if found := await find(place):
        return found
    if not settings.is_local(place.address):
        raise errors.Unavailable(f"no daemon answers at {place.address}", code="UNAVAILABLE")
    if place.program is None:
        raise errors.BinaryNotFound(f"no daemon answers at {place.address}, and {place.why_no_program}")
    place.home.mkdir(parents=True, exist_ok=True)
    async with _lock(place.home / "start.lock"):
        # Somebody else may have started it meanwhile.
        if found := await find(place):
            return found
        return await _start(place, orchestrator, echo or sys.stderr)


@contextlib.asynccontextmanager
async def _lock(path: Path) -> AsyncIterator[None]:
    with path.open("a") as file:
        try:
            async with asyncio.timeout(BEGIN + END):
                while True:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        await asyncio.sleep(_POLL)
        except TimeoutError:
            raise errors.DaemonFailed(f"another program has been starting the daemon for too long ({path})") from None
        yield


async def _start(place: Place, orchestrator: str | None, echo: TextIO) -> Daemon:
    assert place.program is not None
    environment = dict(os.environ)
    if orchestrator:
        environment["ORCHESTRATOR_GRPC_ADDR"] = orchestrator
    command = [str(place.program), "run"]
    if place.manifests:
        command += ["--manifests", str(place.manifests)]
    if place.log.exists():
        place.log.replace(place.log.with_suffix(".log.1"))
    # A file, and not a pipe: the daemon stays when this program goes.
    with place.log.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=place.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _children[:] = [child for child in _children if child.poll() is None]
    _children.append(process)
    lines = Relay(place.log, echo)
    try:
        async with asyncio.timeout(BEGIN):
            while True:
                lines.check(process)
                if _written(place).get("pid") == process.pid and (found := await find(place)):
                    found.process, found.lines = process, lines
                    return found
                await asyncio.sleep(_POLL)
    except TimeoutError:
        process.terminate()
        raise errors.DaemonFailed(
            f"the daemon does not answer after {BEGIN:g} s; its log is {place.log}", lines=lines.last()
        ) from None


class Relay:
    """What a daemon writes, shown as it comes."""

    def __init__(self, log: Path, echo: TextIO) -> None:
        self._log, self._echo = log, echo
        self._at = 0

    def check(self, process: subprocess.Popen[bytes]) -> None:
        """Shows what is new.

        Raises:
            errors.DaemonFailed: it has ended.
        """
        ended = process.poll()
        self.show()
        if ended is not None:
            raise errors.DaemonFailed(
                f"the daemon ended with {ended}; its log is {self._log}", exit_code=ended, lines=self.last()
            )

    def show(self) -> None:
        with self._log.open("rb") as log:
            log.seek(self._at)
            # What is half written comes next time.
            new, newline, _ = log.read().rpartition(b"\n")
        self._at += len(new + newline)
        with contextlib.suppress(OSError, ValueError):
            self._echo.write((new + newline).decode(errors="replace"))
            self._echo.flush()

    def last(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]


async def attend(begun: Daemon) -> None:
    """Shows what a daemon of this process writes, until somebody cancels that.

    Raises:
        errors.DaemonFailed: it has ended.
    """
    while begun.process is not None and begun.lines is not None:
        begun.lines.check(begun.process)
        await asyncio.sleep(_POLL)


async def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a daemon that this process has started. Containers stay.

    Raises:
        errors.DaemonFailed: it has not ended after 20 s.
    """
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(END):
            while process.poll() is None:
                await asyncio.sleep(_POLL)
    except TimeoutError:
        raise errors.DaemonFailed(f"the daemon (process {process.pid}) has not ended within {END:g} s") from None
