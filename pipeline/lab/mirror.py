"""The lab's mirror: a small HTTP server of its own process, which answers for the vendor's dead URLs.

``python -m pipeline.lab.mirror ROOT`` prints its base URL as one line and serves until its standard input
ends or its parent is gone. Faults for tests are its options, and the arguments of ``Mirror``.
"""

from __future__ import annotations

import argparse
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import sleep
from types import TracebackType
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

import msgspec

from pipeline.errors import PipelineError

CHUNK = 65536
PARENT_CHECK_SECONDS = 1.0


class Faults(msgspec.Struct, frozen=True):
    """What goes wrong on purpose. Sizes in bytes, ``rate`` in bytes per second.

    ``truncate``: each body ends after that many bytes and the connection is closed. ``stall``: each body
    stops there and nothing more comes. ``drop``: so many first requests get no answer, only a closed
    connection. ``status``: these paths (``/http/host/file``) answer with that status code.
    """

    truncate: int | None = None
    stall: int | None = None
    drop: int = 0
    rate: int | None = None
    status: Mapping[str, int] = msgspec.field(default_factory=dict)

    def options(self) -> Iterator[str]:
        """These faults as options of the server's command line."""
        if self.truncate is not None:
            yield f"--truncate={self.truncate}"
        if self.stall is not None:
            yield f"--stall={self.stall}"
        if self.rate is not None:
            yield f"--rate={self.rate}"
        yield f"--drop={self.drop}"
        for path, code in self.status.items():
            yield f"--status={path}={code}"


class Mirror:
    """The mirror of ``root``, running between ``with`` and its end. ``url`` is its base, without a slash.

    ``access_log`` gets a line ``METHOD PATH STATUS FIRST-BYTE`` for each request that was answered, and
    ``METHOD PATH dropped`` for those that were not.
    """

    def __init__(self, root: Path, *, faults: Faults | None = None, access_log: Path | None = None) -> None:
        self.url = ""
        self._argv = [sys.executable, "-m", "pipeline.lab.mirror", str(root), *(faults or Faults()).options()]
        if access_log is not None:
            self._argv.append(f"--access-log={access_log}")
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Mirror:
        found = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(part for part in found if part)},
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            self._stop()
            raise PipelineError("the lab's mirror did not start", command=" ".join(self._argv))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def map(self, url: str) -> str:
        """Where the mirror has ``url``: ``http://host/x`` is ``{base}/http/host/x``."""
        scheme, _, rest = url.partition("://")
        return f"{self.url}/{scheme}/{rest}"

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
            self._process = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root: Path, faults: Faults, access_log: Path | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.faults = faults
        self._log = access_log.open("a", buffering=1) if access_log else None
        self._lock = threading.Lock()
        self._to_drop = faults.drop

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""

    def drops_this(self) -> bool:
        with self._lock:
            self._to_drop -= 1
            return self._to_drop >= 0

    def note(self, line: str) -> None:
        if self._log is not None:
            with self._lock:
                self._log.write(line + "\n")


class _Slice(msgspec.Struct, frozen=True):
    """The bytes from ``first`` up to, not including, ``end`` of a file of ``size`` bytes."""

    first: int
    end: int
    size: int


class _UnsatisfiableError(Exception):
    """No byte of the file is in the range that was asked for (RFC 9110, 14.4)."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the access log has it all."""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        if self.server.drops_this():
            self.server.note(f"{self.command} {quote(path)} dropped")
            self.close_connection = True
            return
        forced = self.server.faults.status.get(path)
        file = _inside(self.server.root, path)
        if forced is not None or file is None:
            self._refuse(HTTPStatus(forced or HTTPStatus.NOT_FOUND))
            return
        with file.open("rb") as opened:
            self._send(opened, with_body=with_body)

    def _refuse(self, status: HTTPStatus, *headers: tuple[str, str]) -> None:
        body = f"{status.value} {status.phrase}\n".encode()
        if status.value < 200 or status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            body = b""
        self._head(status, 0, *headers, ("Content-Length", str(len(body))))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, first: int, *headers: tuple[str, str]) -> None:
        self.server.note(f"{self.command} {quote(unquote(urlsplit(self.path).path))} {status.value} {first}")
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def _send(self, opened: BinaryIO, *, with_body: bool) -> None:
        stat = os.fstat(opened.fileno())
        etag = f'"{stat.st_size:x}-{stat.st_ino:x}-{stat.st_ctime_ns:x}"'
        modified = formatdate(stat.st_mtime, usegmt=True)
        common = (("ETag", etag), ("Last-Modified", modified), ("Accept-Ranges", "bytes"))
        if self._is_fresh(etag, stat.st_mtime):
            self._refuse(HTTPStatus.NOT_MODIFIED, *common)
            return
        try:
            part = None
            if self.headers.get("If-Range", etag) in (etag, modified):
                part = _range(self.headers.get("Range", ""), stat.st_size)
        except _UnsatisfiableError:
            self._refuse(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, ("Content-Range", f"bytes */{stat.st_size}")
            )
            return
        status = HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK
        ranged = (("Content-Range", f"bytes {part.first}-{part.end - 1}/{part.size}"),) if part else ()
        part = part or _Slice(0, stat.st_size, stat.st_size)
        length = ("Content-Length", str(part.end - part.first))
        self._head(status, part.first, *common, *ranged, length, ("Content-Type", "application/octet-stream"))
        if with_body:
            self._send_body(opened, part)

    def _is_fresh(self, etag: str, mtime: float) -> bool:
        asked = self.headers.get("If-None-Match")
        if asked is not None:
            return asked == "*" or etag in (tag.strip() for tag in asked.split(","))
        since = self.headers.get("If-Modified-Since")
        if since is None:
            return False
        try:
            return int(mtime) <= parsedate_to_datetime(since).timestamp()
        except ValueError:
            return False

    def _send_body(self, opened: BinaryIO, part: _Slice) -> None:
        faults = self.server.faults
        limits = [limit for limit in (faults.truncate, faults.stall) if limit is not None]
        left = min([part.end - part.first, *limits])
        is_short = left < part.end - part.first
        chunk = min(CHUNK, max(1, faults.rate // 10)) if faults.rate else CHUNK
        opened.seek(part.first)
        while left > 0:
            sent = opened.read(min(chunk, left))
            self.wfile.write(sent)
            left -= len(sent)
            if faults.rate:
                sleep(len(sent) / faults.rate)
        self.wfile.flush()
        if is_short and faults.stall is not None and faults.truncate is None:
            self.connection.recv(1)  # returns when the client has had enough
        if is_short:
            self.close_connection = True


def _inside(root: Path, path: str) -> Path | None:
    """The file of ``root`` that ``path`` names; None when there is none, or it lies outside of ``root``."""
    if "\0" in path:
        return None
    try:
        file = (root / path.lstrip("/")).resolve()
        return file if file.is_relative_to(root) and file.is_file() else None
    except OSError:
        return None


def _range(header: str, size: int) -> _Slice | None:
    """The one range that ``header`` asks for; None when it asks for none, for several, or is no range."""
    unit, _, asked = header.replace(" ", "").partition("=")
    first, dash, last = asked.partition("-")
    if unit != "bytes" or not dash or not (first + last).isascii() or not (first + last).isdigit():
        return None
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= end:
        raise _UnsatisfiableError
    return _Slice(start, end, size)


def _wait_for_the_end() -> None:
    """Return when standard input ends or the parent is gone.

    The kernel's PR_SET_PDEATHSIG is not used: it fires when the *thread* that started this process ends.
    """
    parent = os.getppid()
    while os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin], [], [], PARENT_CHECK_SECONDS)
        if readable and not os.read(sys.stdin.fileno(), CHUNK):
            return


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.lab.mirror", description="The lab's mirror.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--truncate", type=int)
    parser.add_argument("--stall", type=int)
    parser.add_argument("--rate", type=int)
    parser.add_argument("--drop", type=int, default=0)
    parser.add_argument("--status", action="append", default=[], metavar="PATH=CODE")
    parser.add_argument("--access-log", type=Path)
    return parser.parse_args()


def main() -> None:
    """Serve until told to end."""
    given = _arguments()
    pairs = (pair.rpartition("=") for pair in given.status)
    status = {path: int(code) for path, _, code in pairs}
    faults = Faults(given.truncate, given.stall, given.drop, given.rate, status)
    server = _Server(given.root.resolve(), faults, given.access_log)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    _wait_for_the_end()


if __name__ == "__main__":
    main()
