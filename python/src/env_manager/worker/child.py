"""The process of one slot: loads a handler, and runs it for one task after another. Imports no gRPC.

It ends with its worker, whatever ends that: a thread of its own reads what the worker says, and ends the process when
there is nobody any more.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import sys
import threading
import traceback

from . import frames, outcome
from .handlers import TaskContext, resolve


def main(descriptor: int) -> None:
    # Ctrl-C and SIGTERM are for the worker, which ends its processes by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    connection = socket.socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)
    said: queue.SimpleQueue[tuple[frames.Header, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, said), daemon=True).start()

    header, _ = said.get()
    try:
        function = resolve(header["load"])
    except BaseException:
        connection.sendall(frames.encode({"failed": traceback.format_exc()}))
        return
    connection.sendall(frames.encode({"ready": os.getpid(), "grpc": "grpc" in sys.modules}))
    while True:
        header, body = said.get()
        context = TaskContext(**header["context"])
        result = outcome.run(function, header["kind"], body, context)
        if isinstance(result, outcome.Done):
            ((name, value),) = result.fields.items()
            connection.sendall(frames.encode({"done": name}, value))
        elif isinstance(result, outcome.Failed):
            connection.sendall(frames.encode({"error": result.error, "retryable": result.retryable}))


def _listen(connection: socket.socket, said: queue.SimpleQueue[tuple[frames.Header, bytes]]) -> None:
    try:
        while True:
            said.put(frames.receive(connection))
    except OSError:
        # And whatever it has started.
        os.killpg(0, signal.SIGKILL)
