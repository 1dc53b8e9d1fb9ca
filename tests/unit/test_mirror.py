"""The lab's mirror over real HTTP: ranges, validators, faults, and that it ends with its user."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse, IncompleteRead, RemoteDisconnected
from pathlib import Path

import pytest

from pipeline.lab.mirror import Faults, Mirror

CONTENT = bytes(range(256)) * 400
PATH = "/http/www.example.com/a%20dir/file.bin"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root/http/www.example.com/a dir"
    folder.mkdir(parents=True)
    (folder / "file.bin").write_bytes(CONTENT)
    (tmp_path / "secret").write_text("not yours")
    (folder / "way-out").symlink_to(tmp_path / "secret")
    return tmp_path / "root"


def connect(mirror: Mirror) -> HTTPConnection:
    host, _, port = mirror.url.removeprefix("http://").partition(":")
    return HTTPConnection(host, int(port), timeout=20)


def get(mirror: Mirror, path: str = PATH, **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = connect(mirror)
    connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
    response = connection.getresponse()
    return response, response.read()


def test_a_file_is_served_whole_with_its_length_and_validators(root: Path) -> None:
    with Mirror(root) as mirror:
        response, body = get(mirror)
    assert (response.status, body) == (200, CONTENT)
    assert response.headers["Content-Length"] == str(len(CONTENT))
    assert response.headers["ETag"] and response.headers["Last-Modified"]


def test_a_url_is_mapped_below_its_scheme_and_host(root: Path) -> None:
    with Mirror(root) as mirror:
        assert mirror.map("http://www.example.com/x/y.rpm") == f"{mirror.url}/http/www.example.com/x/y.rpm"
        assert mirror.map("ftp://ftp.example.com/home:/y") == f"{mirror.url}/ftp/ftp.example.com/home:/y"


@pytest.mark.parametrize(
    ("asked", "status", "first", "end"),
    [
        ("bytes=100-", 206, 100, len(CONTENT)),
        ("bytes=0-0", 206, 0, 1),
        ("bytes=10-99999999", 206, 10, len(CONTENT)),
        ("bytes=-7", 206, len(CONTENT) - 7, len(CONTENT)),
        ("bytes=5-2", 200, 0, len(CONTENT)),
        ("bytes=1-2,5-6", 200, 0, len(CONTENT)),
        ("lines=1-2", 200, 0, len(CONTENT)),
    ],
)
def test_a_range_is_answered_with_just_its_bytes(
    root: Path, asked: str, status: int, first: int, end: int
) -> None:
    with Mirror(root) as mirror:
        response, body = get(mirror, Range=asked)
    assert (response.status, body) == (status, CONTENT[first:end])
    if status == 206:
        assert response.headers["Content-Range"] == f"bytes {first}-{end - 1}/{len(CONTENT)}"


def test_a_range_behind_the_end_is_refused_with_the_size(root: Path) -> None:
    with Mirror(root) as mirror:
        response, _ = get(mirror, Range=f"bytes={len(CONTENT)}-")
    assert response.status == 416
    assert response.headers["Content-Range"] == f"bytes */{len(CONTENT)}"


def test_a_resume_of_a_file_that_changed_gets_the_whole_new_file(root: Path) -> None:
    with Mirror(root) as mirror:
        etag = get(mirror)[0].headers["ETag"]
        resumed, tail = get(mirror, Range="bytes=50-", If_Range=etag)
        changed, whole = get(mirror, Range="bytes=50-", If_Range='"other"')
    assert (resumed.status, tail) == (206, CONTENT[50:])
    assert (changed.status, whole) == (200, CONTENT)


def test_an_unchanged_file_is_not_sent_again(root: Path) -> None:
    with Mirror(root) as mirror:
        first, _ = get(mirror)
        same, body = get(mirror, If_None_Match=first.headers["ETag"])
        since, _ = get(mirror, If_Modified_Since=first.headers["Last-Modified"])
    assert (same.status, body, since.status) == (304, b"", 304)


def test_one_connection_serves_several_requests(root: Path) -> None:
    with Mirror(root) as mirror:
        connection = connect(mirror)
        for method in ("HEAD", "GET", "GET"):
            connection.request(method, PATH)
            opened = connection.sock
            response = connection.getresponse()
            assert len(response.read()) == (0 if method == "HEAD" else len(CONTENT))
            assert connection.sock is opened


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/%2e%2e/secret",
        "/http/../../secret",
        "/http/www.example.com/a%20dir/way-out",
        "/http/www.example.com/a%20dir/file.bin%00",
        "/http",
        "/http/www.example.com/" + "x" * 300,
        "/http/nowhere",
    ],
)
def test_what_is_not_a_file_below_the_root_is_not_found(root: Path, path: str) -> None:
    with Mirror(root) as mirror:
        response, _ = get(mirror, path)
    assert response.status == 404


def test_a_truncated_body_promises_its_full_length_and_can_be_resumed(root: Path) -> None:
    with Mirror(root, faults=Faults(truncate=60_000)) as mirror:
        with pytest.raises(IncompleteRead) as cut:
            get(mirror)
        response, rest = get(mirror, Range=f"bytes={len(cut.value.partial)}-")
    assert response.status == 206
    assert cut.value.partial + rest == CONTENT


def test_a_stalled_body_stops_without_the_connection_being_closed(root: Path) -> None:
    with Mirror(root, faults=Faults(stall=1000)) as mirror:
        connection = connect(mirror)
        connection.request("GET", PATH)
        response = connection.getresponse()
        assert response.read(1000) == CONTENT[:1000]
        assert connection.sock is not None
        connection.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            response.read(1)


def test_a_slow_body_comes_at_the_given_rate(root: Path) -> None:
    with Mirror(root, faults=Faults(rate=len(CONTENT) * 2)) as mirror:
        begun = time.monotonic()
        _, body = get(mirror)
    assert body == CONTENT
    assert time.monotonic() - begun > 0.4


def test_the_first_requests_are_dropped_and_the_log_counts_them(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with Mirror(root, faults=Faults(drop=2), access_log=log) as mirror:
        for _ in range(2):
            with pytest.raises(RemoteDisconnected):
                get(mirror)
        assert get(mirror, Range="bytes=9-")[0].status == 206
    assert log.read_text().splitlines() == [f"GET {PATH} dropped"] * 2 + [f"GET {PATH} 206 9"]


def test_a_path_answers_with_the_status_that_a_test_gave_it(root: Path) -> None:
    faults = Faults(status={"/http/www.example.com/a dir/file.bin": 503, "/gone": 410})
    with Mirror(root, faults=faults) as mirror:
        assert [get(mirror)[0].status, get(mirror, "/gone")[0].status] == [503, 410]


def test_the_mirror_ends_when_its_user_is_killed(root: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from pipeline.lab.mirror import Mirror\n"
        f"with Mirror(Path({str(root)!r})) as mirror: print(mirror.url, flush=True); time.sleep(60)"
    )
    user = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert user.stdout is not None
    address = user.stdout.readline().strip().removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=20) as held:
        user.send_signal(signal.SIGKILL)
        user.wait()
        # An orderly end or a reset, depending on whether the mirror had accepted the connection yet.
        with suppress(ConnectionResetError):
            assert held.recv(1) == b"", "the connection ends with the mirror"
    user.stdout.close()
