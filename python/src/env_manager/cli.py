"""`python -m env_manager health | status | submit | worker MODULE`.

Exit codes: 0 done, 1 no (not healthy, a task that failed, refused), 2 wrong arguments, 5 nobody answers, 130
interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

from . import errors, payload
from .infra import AgentInfra

UNREACHABLE = 5
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m env_manager", description="Asks the env-manager daemon, works on tasks."
    )
    verbs = top.add_subparsers(dest="verb", required=True)

    health = verbs.add_parser("health", help="whether the environment is well, and tasks are taken")
    health.add_argument("-o", "--output", choices=["table", "json"], default="table")

    status = verbs.add_parser("status", help="what is known of a task; without ID: the queue's numbers")
    status.add_argument("task_id", nargs="?", metavar="ID")
    status.add_argument("-o", "--output", choices=["table", "json"], default="table")

    submit = verbs.add_parser(
        "submit", help="submits a task", epilog="example: submit --class gpu_long '{\"n\": 1}' --wait"
    )
    submit.add_argument("payload", nargs="?", default="{}", help="JSON; - reads it from stdin (default: {})")
    submit.add_argument("--id", help="the task's id; a second time it is the same task (default: one is made)")
    submit.add_argument("--class", dest="task_class", default="cpu_short")
    submit.add_argument("--priority", type=int, default=0)
    submit.add_argument(
        "--wait", nargs="?", type=float, const=0.0, metavar="SECONDS", help="until it has ended, and print its result"
    )

    worker = verbs.add_parser(
        "worker", help="works on tasks with the handlers of a module", epilog="example: worker my.tasks"
    )
    worker.add_argument("module", nargs="+", metavar="MODULE")
    worker.add_argument(
        "--concurrency",
        action="append",
        default=[],
        metavar="CLASS=N",
        help="tasks of a class at once (again for others)",
    )
    worker.add_argument("--grace", type=float, default=30.0, metavar="SECONDS", help="for tasks to end on SIGTERM (30)")
    worker.add_argument("--lease", type=float, default=30.0, metavar="SECONDS", help="without a heartbeat (30)")
    worker.add_argument("-v", "--verbose", action="store_true")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    work = {"health": _health, "status": _status, "submit": _submit, "worker": _worker}[options.verb]
    try:
        return asyncio.run(work(options))
    except (errors.Unavailable, errors.DeadlineExceeded) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNREACHABLE
    except errors.EnvManagerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


async def _found() -> AgentInfra:
    """A daemon that is there: a command that asks starts none. A queue without one will do, too."""
    try:
        return await AgentInfra(auto_start_services=False).start()
    except errors.Unavailable:
        return AgentInfra()


async def _health(options: argparse.Namespace) -> int:
    infra = await _found()
    health = await infra.health_check()
    await infra.stop()
    if options.output == "json":
        print(json.dumps(health))
    else:
        print("healthy" if health["healthy"] else "not healthy", health["version"])
        _table(health["services"])
    if not health["version"]:
        return UNREACHABLE
    return 0 if health["healthy"] else 1


async def _status(options: argparse.Namespace) -> int:
    infra = await _found()
    try:
        told: dict[str, Any]
        if options.task_id:
            told = dict(await infra.orchestrator.describe_task(options.task_id))
            if isinstance(told["result_payload"], bytes):
                told["result_payload"] = f"{len(told['result_payload'])} bytes"
        else:
            told = dict(await infra.get_metrics())
    finally:
        await infra.stop()
    if options.output == "json":
        print(json.dumps(told))
    else:
        _table(told)
    return 0


async def _submit(options: argparse.Namespace) -> int:
    text = sys.stdin.read() if options.payload == "-" else options.payload
    infra = await _found()
    try:
        answer = await infra.submit_task(
            options.id, payload.from_json(text.encode()), options.task_class, options.priority
        )
        if options.wait is None:
            print(answer["task_id"])
            return 0
        result = await infra.wait_task(answer["task_id"], timeout=options.wait or None)
    finally:
        await infra.stop()
    if result["status"] != "completed":
        print(f"{result['status']}: {result['error'] or ''}", file=sys.stderr)
        return 1
    value = result["result_payload"]
    if isinstance(value, bytes):
        sys.stdout.buffer.write(value)
    else:
        print(json.dumps(value))
    return 0


async def _worker(options: argparse.Namespace) -> int:
    from .worker import Worker

    level = logging.DEBUG if options.verbose else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    sizes = {}
    for one in options.concurrency:
        name, _, size = one.partition("=")
        if not size.isdigit() or int(size) < 1:
            raise errors.HandlerError(f"--concurrency {one}: CLASS=N is needed")
        sizes[name] = int(size)
    for name in options.module:
        importlib.import_module(name)
    infra = await _found()
    address = infra.orchestrator.address
    await infra.stop()
    await Worker(address=address, concurrency=sizes, grace=options.grace, lease=options.lease).run()
    return 0


def _table(values: dict[str, Any]) -> None:
    width = max(map(len, values), default=0)
    for name, value in sorted(values.items()):
        print(f"  {name:{width}}  {value}")
