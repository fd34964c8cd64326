"""`python -m env_manager`, against the fake."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from env_manager import OrchestratorClient

from .fakes import Fake, served


async def run(fake: Fake | None, *arguments: str, stdin: bytes = b"") -> tuple[int | None, str, str]:
    process = await begin(fake, *arguments)
    out, err = await asyncio.wait_for(process.communicate(stdin), 60)
    return process.returncode, out.decode(), err.decode()


async def begin(fake: Fake | None, *arguments: str) -> asyncio.subprocess.Process:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if fake is not None:
        environment |= {"ORCHESTRATOR_GRPC_ADDR": fake.address, "ENV_MANAGER_GRPC_ADDR": fake.address}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "env_manager", *arguments, env=environment, stdin=pipe, stdout=pipe, stderr=pipe
    )


async def test_health_tells_and_its_exit_code_says_it(fake: Fake) -> None:
    await fake.reconciler.set("redis", ready=True)
    code, out, _ = await run(fake, "health")
    assert (code, out.splitlines()[0]) == (0, "healthy 0.1.0")
    await fake.reconciler.set("redis", ready=False, phase="Starting")
    code, out, _ = await run(fake, "health", "-o", "json")
    assert (code, json.loads(out)["services"]["redis"]) == (1, "starting")
    async with served() as gone:
        pass
    assert (await run(gone, "health"))[0] == 5


async def test_a_task_is_submitted_waited_for_and_asked_about(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "my_tasks.py").write_text(
        "from env_manager import task_handler\n"
        '@task_handler("cpu_short")\n'
        "def double(payload):\n"
        '    return payload["n"] * 2\n'
    )
    sys.path.append(str(tmp_path))
    try:
        worker = await begin(fake, "worker", "my_tasks", "--concurrency", "cpu_short=2")
    finally:
        sys.path.remove(str(tmp_path))
    await fake.orchestrator.until(lambda: any(s.credit["cpu_short"] == 2 for s in fake.orchestrator.streams), 60)
    assert await run(fake, "submit", "--id", "t-1", '{"n": 21}', "--wait") == (0, "42\n", "")
    assert await run(fake, "submit", "--id", "t-2", "-", "--wait", "60", stdin=b'{"n": 4}') == (0, "8\n", "")
    code, _, err = await run(fake, "submit", "--id", "t-3", "[]", "--wait")
    assert code == 1
    assert "failed: TypeError" in err
    code, out, _ = await run(fake, "status", "t-1", "-o", "json")
    assert (code, json.loads(out)["status"], json.loads(out)["result_payload"]) == (0, "completed", 42)
    code, out, _ = await run(fake, "status")
    assert code == 0
    assert "env_queue_depth" in out
    code, _, err = await run(fake, "status", "nobody")
    assert (code, "there is no task nobody" in err) == (1, True)
    assert (await run(fake, "submit", "{"))[0] == 1
    worker.send_signal(signal.SIGTERM)
    _, log = await asyncio.wait_for(worker.communicate(), 60)
    assert worker.returncode == 0
    assert b"draining" in log


async def test_a_second_signal_ends_the_grace(fake: Fake, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    worker = await begin(fake, "worker", "tests.blocking", "--grace", "600")
    async with OrchestratorClient(fake.address) as client:
        await client.submit_task("t", {"block": str(file)})
        async with asyncio.timeout(60):
            while not file.exists():
                await asyncio.sleep(0.01)
    worker.send_signal(signal.SIGINT)
    await fake.orchestrator.until(lambda: all(s.drained for s in fake.orchestrator.streams))
    worker.send_signal(signal.SIGINT)
    await asyncio.wait_for(worker.communicate(), 60)
    assert worker.returncode == 0
    assert fake.orchestrator.tasks["t"].released == 1
