"""The slots of one class, and the credit they are worth. Credit is a difference, worked out anew each time, and not a
count of what was given: whatever a handler does, none leaks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from ..errors import HandlerError
from ..settings import Backoff
from .handlers import Handler
from .slots import Slot, slot_for

log = logging.getLogger("env_manager.worker")


class Lane:
    """`changed` is called whenever more credit may be due."""

    def __init__(self, handler: Handler, changed: Callable[[], None]) -> None:
        self.handler = handler
        self._changed = changed
        self._slots = [slot_for(handler) for _ in range(handler.concurrency)]
        self._idle: list[Slot] = []
        #: Credit that the daemon has from us on this stream, and has not used.
        self._granted = 0
        self._readying: set[asyncio.Task[None]] = set()

    @property
    def size(self) -> int:
        return len(self._slots)

    async def open(self) -> None:
        """Raises:
        HandlerError: the handler cannot be loaded.
        """
        async with asyncio.TaskGroup() as group:
            for slot in self._slots:
                group.create_task(slot.ready())
        self._idle = list(self._slots)
        self._changed()

    def due(self) -> int:
        """So much more credit; it counts as given from now on."""
        due = max(0, len(self._idle) - self._granted)
        self._granted += due
        return due

    def forget_credit(self) -> None:
        """The stream is gone, and the credit with it."""
        self._granted = 0

    def take(self) -> Slot | None:
        """A slot for a lease that came; `None`: there is none free."""
        self._granted = max(0, self._granted - 1)
        return self._idle.pop() if self._idle else None

    def give_back(self, slot: Slot) -> None:
        """As soon as it is ready again, it takes work."""
        task = asyncio.create_task(self._ready(slot))
        self._readying.add(task)
        task.add_done_callback(self._readying.discard)

    async def _ready(self, slot: Slot) -> None:
        backoff = Backoff.from_environment()
        while True:
            try:
                await slot.ready()
                break
            except (HandlerError, OSError) as error:
                pause = backoff.next()
                log.error("%s; trying again in %.1f s", error, pause)
                await asyncio.sleep(pause)
        self._idle.append(slot)
        self._changed()

    async def close(self) -> None:
        for task in self._readying:
            task.cancel()
        for task in list(self._readying):
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for slot in self._slots:
            await slot.close()
