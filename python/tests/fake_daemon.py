"""A program with the verbs of `env-manager` that the package uses, over the fakes. What it does is in variables:

FAKE_VERSION, FAKE_FAILS (words; it ends at once), FAKE_STARTS (a file that gets a line for each `run`), FAKE_UNREADY,
FAKE_NO_QUEUE.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent.parent / "src")]

STATE = Path(os.environ.get("ENV_MANAGER_STATE_DIR", Path.home() / "state"))
STACK = os.environ.get("ENV_MANAGER_STACK", "default")


def show() -> None:
    def key(value: str, variable: str) -> dict[str, str]:
        is_set = variable in os.environ
        return {"value": os.environ.get(variable, value), "origin": "environment" if is_set else "default"}

    print(
        json.dumps(
            {
                "state_dir": key(str(STATE), "ENV_MANAGER_STATE_DIR"),
                "stack": key("default", "ENV_MANAGER_STACK"),
                "manifests": key("./manifests", "ENV_MANAGER_MANIFESTS"),
                "grpc_addr": key("0.0.0.0:50100", "ENV_MANAGER_GRPC_ADDR"),
            }
        )
    )


async def run(arguments: list[str]) -> None:
    from tests.fakes import served

    async with served(os.environ.get("ENV_MANAGER_GRPC_ADDR", "127.0.0.1:0")) as fake:
        fake.reconciler.stack = STACK
        if "--manifests" in arguments:
            fake.reconciler.source = arguments[arguments.index("--manifests") + 1]
        unready = "FAKE_UNREADY" in os.environ
        await fake.reconciler.set("redis", ready=not unready, phase="Starting" if unready else "Ready")
        home = STATE / STACK
        home.mkdir(parents=True, exist_ok=True)
        queue = None if "FAKE_NO_QUEUE" in os.environ else fake.address
        written = {"pid": os.getpid(), "stack": STACK, "grpc": fake.address, "tasksGrpc": queue}
        (home / "partial").write_text(json.dumps(written))
        (home / "partial").rename(home / "daemon.json")
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        print("🎉 Startup complete", file=sys.stderr, flush=True)
        await ended.wait()
    (home / "daemon.json").unlink()


def main() -> None:
    verb, *arguments = sys.argv[1:]
    if verb == "version":
        print("env-manager", os.environ.get("FAKE_VERSION", "0.1.0"))
    elif verb == "config":
        show()
    else:
        print("🚀 Starting DSPy Environment Manager v0.1.0", file=sys.stderr, flush=True)
        if starts := os.environ.get("FAKE_STARTS"):
            with open(starts, "a") as file:
                file.write(f"{os.getpid()} {os.getsid(0)} {os.getcwd()}\n")
        if words := os.environ.get("FAKE_FAILS"):
            print(words, file=sys.stderr)
            sys.exit(4)
        asyncio.run(run(arguments))


if __name__ == "__main__":
    main()
