"""Tells what came of leases, again and again until the daemon has answered: an answer outlives the stream that the
lease came by, and the daemon that gave it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from .. import errors
from ..rpc import Answer, Rpc, until_answered
from ..settings import Backoff
from ..v1 import orchestrator_pb2 as pb
from .outcome import Done, Failed

log = logging.getLogger("env_manager.worker")

#: Seconds of one try.
TRY = 15.0
LONGEST_PAUSE = 5.0
#: Tries for a result that the daemon says is too much: of Redis's memory that may pass, of its limits it does not.
EXHAUSTED = 5


class Answers:
    """Of one worker."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    async def completed(self, task_id: str, token: str, done: Done) -> None:
        request = pb.CompleteTaskRequest(task_id=task_id, lease_token=token, **done.fields)  # type: ignore[arg-type]
        try:
            answer = await self._ask("CompleteTask", request, pb.CompleteTaskResponse, task_id)
        except errors.RpcError as error:
            # The daemon will not have this result, ever.
            await self.failed(task_id, token, Failed(f"the result was refused: {error}", retryable=False))
            return
        self._note(task_id, "completed", answer.answer)

    async def failed(self, task_id: str, token: str, failed: Failed) -> None:
        request = pb.FailTaskRequest(task_id=task_id, lease_token=token, error=failed.error, retryable=failed.retryable)
        try:
            answer = await self._ask("FailTask", request, pb.FailTaskResponse, task_id)
        except errors.RpcError as error:
            log.error("task %s: its failure was refused: %s", task_id, error)
            return
        then = "dead" if answer.dead else f"again in {answer.retry_in_ms} ms"
        self._note(task_id, f"failed ({then}): {failed.error.splitlines()[0]}", answer.answer)

    async def released(self, task_id: str, token: str, why: str) -> None:
        request = pb.ReleaseTaskRequest(task_id=task_id, lease_token=token)
        try:
            answer = await self._ask("ReleaseTask", request, pb.ReleaseTaskResponse, task_id)
        except errors.RpcError as error:
            log.error("task %s: its release was refused: %s", task_id, error)
            return
        self._note(task_id, f"given back: {why}", answer.answer)

    async def _ask(self, method: str, request: Any, answer: type[Answer], task_id: str) -> Answer:
        backoff = Backoff.from_environment()
        backoff.longest = LONGEST_PAUSE
        exhausted = 0

        async def pause(error: errors.RpcError) -> None:
            nonlocal exhausted
            exhausted += isinstance(error, errors.ResourceExhausted)
            if exhausted >= EXHAUSTED:
                raise error
            log.warning("task %s: %s; trying again", task_id, error)
            await asyncio.sleep(min(error.retry_after or backoff.next(), LONGEST_PAUSE))

        return await until_answered(lambda: self._rpc.call(method, request, answer, TRY), pause)

    @staticmethod
    def _note(task_id: str, what: str, answer: int) -> None:
        if answer == pb.ANSWER_STALE:
            log.warning("task %s: %s, but somebody else has it by now: that counts for nothing", task_id, what)
        else:
            log.info("task %s: %s", task_id, what)
