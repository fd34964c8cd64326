"""The handler of the Python worker, as a user's would be: `python -m env_manager worker worker`. The same as
worker.rs."""

import os
import time
from typing import Any

from env_manager import PermanentError, TaskContext, task_handler

WORKER = os.environ["P20_WORKER"]
# One write to a file that is appended to is whole, whoever else writes there.
RUNS = os.open(os.environ["P20_RUNS"], os.O_WRONLY | os.O_APPEND)


def note(context: TaskContext, what: str) -> None:
    os.write(RUNS, f"{context.task_id} {context.attempt} {what} {WORKER}\n".encode())


@task_handler("cpu_short", concurrency=2)
def work(payload: Any, context: TaskContext) -> Any:
    note(context, "begun")
    time.sleep(payload["takes"] / 1000)
    fails = payload["fails"]
    if fails == "for good":
        note(context, "failed")
        raise PermanentError("on purpose, for good")
    if fails == "always" or (fails == "once" and context.attempt == 1):
        note(context, "failed")
        raise RuntimeError("on purpose")
    note(context, "done")
    return {"of": context.task_id, "attempt": context.attempt}
