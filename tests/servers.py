"""Small real servers for tests of downloads: HTTP that answers as told, and FTP."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer


@dataclass(frozen=True)
class Reply:
    """An answer. ``cut``: only so many bytes of the body are sent before the connection ends."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass
class Told:
    """A server that answers as ``reply`` says, from the headers of the request; ``asked`` keeps those."""

    url: str
    asked: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def http_server(reply: Callable[[int, Mapping[str, str]], Reply]) -> Iterator[Told]:
    """``reply`` gets the number of the request, from 1, and its headers."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            with lock:
                told.asked.append(dict(self.headers))
                number = len(told.asked)
            answer = reply(number, dict(self.headers))
            self.send_response(answer.status)
            headers = {"Content-Length": str(len(answer.body)), **answer.headers}
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body[: answer.cut])
            if answer.cut is not None or not headers["Content-Length"]:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    told = Told(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def guarded_server(root: Path, user: str, password: str) -> Iterator[str]:
    """The files below ``root`` over HTTP, for those only who say ``user`` and ``password``; its URL."""
    wanted = "Basic " + b64encode(f"{user}:{password}".encode()).decode()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.headers["Authorization"] == wanted:
                super().do_GET()
            else:
                self.send_error(401)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def ftp_server(root: Path, *, without: tuple[str, ...] = ()) -> Iterator[tuple[str, list[str]]]:
    """A server of the files below ``root``, and the commands that it is given. ``without``: unknown to it."""
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

    commands: list[str] = []

    class Handler(FTPHandler):  # type: ignore[misc]
        authorizer = DummyAuthorizer()
        auth_failed_timeout = 0
        proto_cmds = {name: is_for for name, is_for in FTPHandler.proto_cmds.items() if name not in without}  # noqa: RUF012

        def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
            commands.append(line)
            super().pre_process_command(line, cmd, arg)

    Handler.authorizer.add_anonymous(str(root))
    Handler.authorizer.add_user("us er", "p@ss", str(root))
    loop = IOLoop()
    server = FTPServer(("127.0.0.1", 0), Handler, ioloop=loop)
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            loop.loop(timeout=0.02, blocking=False)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"ftp://127.0.0.1:{server.address[1]}", commands
    finally:
        ended.set()
        thread.join()
        server.close_all()


@contextmanager
def raw_server(answer: bytes) -> Iterator[str]:
    """The URL of a server that reads a request, sends ``answer`` as it is, and closes."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            self.request.sendall(answer)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
