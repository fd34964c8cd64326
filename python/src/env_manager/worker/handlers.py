"""Which function does which class of tasks, and where it runs."""

from __future__ import annotations

import importlib
import inspect
import runpy
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..errors import HandlerError

F = TypeVar("F", bound=Callable[..., Any])
Where = Literal["process", "thread", "loop"]

CLASSES = ("cpu_short", "cpu_long", "gpu_short", "gpu_long")
#: Names of the system before this one.
OLD_NAMES = {"": "cpu_short", "gpu": "gpu_long", "gpu_slurm": "gpu_long"}


@dataclass(frozen=True)
class TaskContext:
    """About the attempt that a handler works on; given to handlers that take a second argument."""

    task_id: str
    task_class: str
    #: From 1.
    attempt: int
    max_attempts: int
    priority: int
    workflow_id: str
    #: Seconds that the attempt has; 0: no limit.
    time_limit: float
    #: Set when the task is cancelled or its time is over. Only handlers in threads need to look: processes are killed,
    #: and `async` handlers are cancelled.
    cancelled: threading.Event = field(default_factory=threading.Event, compare=False)


@dataclass(frozen=True)
class Handler:
    task_class: str
    function: Callable[..., Any]
    where: Where
    #: How many tasks it works on at once.
    concurrency: int
    #: How a process finds it: `module:qualname` or `/path/file.py:qualname`; `None`: it cannot.
    reference: str | None


#: By class. What is imported registers itself here.
REGISTERED: dict[str, Handler] = {}


def known_class(name: str) -> str:
    """Raises:
    HandlerError: there is no such class.
    """
    name = OLD_NAMES.get(name, name)
    if name not in CLASSES:
        raise HandlerError(f"there is no class `{name}`; there are {', '.join(CLASSES)}")
    return name


def task_handler(
    task_class: str = "cpu_short", *, concurrency: int = 1, where: Where | None = None
) -> Callable[[F], F]:
    """Makes a function the handler of a class of tasks. It takes the payload, and a [`TaskContext`] if it has a second
    argument; what it returns is the result: what JSON can say, or bytes. What it raises fails the attempt, which is
    tried again later; [`PermanentError`] fails the task for good.

    `concurrency`: tasks at once. `where`: a function runs in a process of its own by default (`process`), in a thread
    where no process could import it, as in a notebook (`thread`); an `async` one on a loop of its own (`loop`).

    Raises:
        HandlerError: no such class, or it has another handler.
    """
    if callable(task_class):
        raise HandlerError('write @task_handler("cpu_short"): the class is named')
    name = known_class(task_class)
    if concurrency < 1:
        raise HandlerError(f"concurrency is {concurrency}: at least 1 is needed")

    def register(function: F) -> F:
        reference = _reference(function)
        is_async = inspect.iscoroutinefunction(function)
        chosen = where or ("loop" if is_async else "process" if reference else "thread")
        if (chosen == "loop") != is_async:
            raise HandlerError(
                f"{function.__qualname__} is {'' if is_async else 'not '}async: it cannot run in a {chosen}"
            )
        if chosen == "process" and reference is None:
            raise HandlerError(f"{function.__qualname__} cannot be imported by a process: define it in a module")
        before = REGISTERED.get(name)
        if before is not None and _name(before.function) != _name(function):
            raise HandlerError(f"{name} has the handler {'.'.join(_name(before.function))} already")
        REGISTERED[name] = Handler(name, function, chosen, concurrency, reference)
        return function

    return register


def _name(function: Callable[..., Any]) -> tuple[str, str]:
    module = "__main__" if function.__module__ == _MAIN_OF_CHILD else function.__module__
    return module, function.__qualname__


#: What the program's own file is called in a process: not `__main__`, so that it does not run again.
_MAIN_OF_CHILD = "__env_manager_main__"


def _reference(function: Callable[..., Any]) -> str | None:
    if "<" in function.__qualname__:
        return None  # inside another function, or a lambda
    module = function.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        if spec is not None:
            module = spec.name
        elif file is not None and Path(file).is_file():
            module = str(Path(file).resolve())
        else:
            return None
    return f"{module}:{function.__qualname__}"


def resolve(reference: str) -> Callable[..., Any]:
    """The function that a reference names, in a process.

    Raises:
        HandlerError: there is none. Whatever its module raises when it is imported.
    """
    module, _, qualname = reference.rpartition(":")
    found: Any
    if module.endswith(".py") and Path(module).is_absolute():
        names = runpy.run_path(module, run_name=_MAIN_OF_CHILD)
        first, *rest = qualname.split(".")
        found = names.get(first)
    else:
        rest = qualname.split(".")
        found = importlib.import_module(module)
    for part in rest:
        found = getattr(found, part, None)
    if not callable(found):
        raise HandlerError(f"{reference} is no function")
    return found  # type: ignore[no-any-return]
