"""Another client of the server, a process of its own: asks for one key at a time and says how long it waited."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from types import TracebackType

PAUSE_S = 0.0005


class Bystander:
    """Asks while it is entered; `waits_ms` afterwards."""

    def __init__(self, port: int) -> None:
        self._argv = [sys.executable, __file__, str(port)]
        self.waits_ms: list[float] = []

    def __enter__(self) -> Bystander:
        self._process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        told, _ = self._process.communicate(b"\n")
        self.waits_ms = json.loads(told)


def main(port: int) -> None:
    link = socket.create_connection(("127.0.0.1", port), 5)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
    print(flush=True)
    waits_ms = []
    while not over.is_set():
        began = time.perf_counter()
        link.sendall(b"GET bystander\r\n")
        link.recv(64)
        waits_ms.append(1000 * (time.perf_counter() - began))
        time.sleep(PAUSE_S)
    print(json.dumps(waits_ms))


if __name__ == "__main__":
    main(int(sys.argv[1]))
