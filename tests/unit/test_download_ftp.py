"""Downloads over FTP, from a real server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.mirrors import Mirrors
from pipeline.recipe.model import Downloads
from pipeline.sources.downloads import Fetcher
from tests.servers import ftp_server

BODY = bytes(range(256)) * 2000
DIGEST = sha256(BODY).hexdigest()
QUICK = Downloads(attempts=3, timeout=5.0, longest_wait=0.01)


def fetcher(directory: Path, settings: Downloads = QUICK) -> Fetcher:
    return Fetcher(directory / "downloads", Mirrors({}), settings)


@pytest.fixture
def pub(tmp_path: Path) -> Path:
    """The server's root, with a file ``a dir/x.rpm``."""
    (tmp_path / "pub/a dir").mkdir(parents=True)
    (tmp_path / "pub/a dir/x.rpm").write_bytes(BODY)
    return tmp_path / "pub"


def test_a_file_comes_over_ftp_and_only_once(tmp_path: Path, pub: Path) -> None:
    with ftp_server(pub) as (url, commands):
        for _ in range(2):
            found = fetcher(tmp_path).fetch(f"{url}/a%20dir/x.rpm", project=tmp_path)
            assert found.path.read_bytes() == BODY
    assert len([line for line in commands if line.startswith("RETR")]) == 1


def test_user_and_password_of_the_url_are_used(tmp_path: Path, pub: Path) -> None:
    with ftp_server(pub) as (url, commands):
        named = url.replace("ftp://", "ftp://us%20er:p%40ss@")
        assert fetcher(tmp_path).fetch(f"{named}/a%20dir/x.rpm", project=tmp_path).sha256 == DIGEST
        assert "USER us er" in commands
        with pytest.raises(PipelineError, match="530"):
            fetcher(tmp_path).fetch(f"{named.replace('p%40ss', 'no')}/y", project=tmp_path)


@contextmanager
def cutting(server: str, after: int) -> Iterator[str]:
    """A server in front of ``server`` whose first data connection breaks off after so many bytes."""
    host, port = server.removeprefix("ftp://").split(":")
    listener = socket.create_server(("127.0.0.1", 0))
    data_listener = socket.create_server(("127.0.0.1", 0))
    first = threading.Event()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if first.is_set():
                threading.Thread(target=relay, args=(client,), daemon=True).start()
            else:
                first.set()
                threading.Thread(target=broken, args=(client,), daemon=True).start()

    def broken(client: socket.socket) -> None:
        """Speak just enough FTP to send the beginning of the file and hang up."""
        with client, client.makefile("rwb") as lines:
            lines.write(b"220 hello\r\n")
            lines.flush()
            replies = {
                b"USER": b"230 in",
                b"TYPE": b"200 ok",
                b"SIZE": b"213 %d" % len(BODY),
                b"MDTM": b"550 no",
                b"PASV": b"227 (127,0,0,1,%d,%d)" % divmod(data_listener.getsockname()[1], 256),
                b"EPSV": b"229 (|||%d|)" % data_listener.getsockname()[1],
                b"RETR": b"150 here",
            }
            for line in lines:
                lines.write(replies.get(line[:4].strip(), b"500 what") + b"\r\n")
                lines.flush()
                if line.startswith(b"RETR"):
                    data, _ = data_listener.accept()
                    with data:
                        data.sendall(BODY[:after])
                    return

    def relay(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as upstream:
            back = threading.Thread(target=copy, args=(upstream, client), daemon=True)
            back.start()
            copy(client, upstream)

    def copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"ftp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        data_listener.close()
        thread.join()


@pytest.mark.parametrize("without", [(), ("REST",)])
def test_a_broken_transfer_goes_on_by_rest_where_the_server_knows_it(
    tmp_path: Path, pub: Path, without: tuple[str, ...]
) -> None:
    with ftp_server(pub, without=without) as (url, commands), cutting(url, 1000) as front:
        found = fetcher(tmp_path).fetch(f"{front}/a%20dir/x.rpm", sha256=DIGEST, project=tmp_path)
    assert found.path.read_bytes() == BODY
    assert [line for line in commands if line.startswith("REST")] == ["REST 1000"]


def test_pieces_of_what_may_be_two_files_are_not_joined(tmp_path: Path, pub: Path) -> None:
    with ftp_server(pub) as (url, commands), cutting(url, 1000) as front:
        found = fetcher(tmp_path).fetch(f"{front}/a%20dir/x.rpm", project=tmp_path)
    assert found.sha256 == DIGEST
    assert not [line for line in commands if line.startswith("REST")], "no digest, no date: nothing to go by"


def test_a_server_that_tells_neither_size_nor_date_is_read_all_the_same(tmp_path: Path, pub: Path) -> None:
    with ftp_server(pub, without=("SIZE", "MDTM")) as (url, _):
        assert fetcher(tmp_path).fetch(f"{url}/a%20dir/x.rpm", project=tmp_path).sha256 == DIGEST


@pytest.mark.parametrize("path", ["nothing", "x%0d%0aDELE%20x"])
def test_what_will_not_pass_is_asked_once(tmp_path: Path, pub: Path, path: str) -> None:
    with (
        ftp_server(pub) as (url, commands),
        pytest.raises(PipelineError, match=r"cannot download ftp://.*: .*\(1 try\)"),
    ):
        fetcher(tmp_path).fetch(f"{url}/{path}", project=tmp_path)
    assert not [line for line in commands if line.startswith("DELE")]


def test_a_server_that_says_nothing_is_left_after_the_timeout(tmp_path: Path) -> None:
    settings = Downloads(attempts=2, timeout=0.1, longest_wait=0.01)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(PipelineError, match=r"stalled \(2 tries\)"),
    ):
        fetcher(tmp_path, settings).fetch(f"ftp://127.0.0.1:{silent.getsockname()[1]}/x", project=tmp_path)
