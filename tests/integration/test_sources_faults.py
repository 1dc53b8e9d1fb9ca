"""Downloads that are killed, interrupted, or run out of disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from pipeline.lab.mirror import Faults, Mirror
from pipeline.mirrors import Mirrors
from pipeline.recipe.model import Downloads
from pipeline.sources.downloads import Fetched, Fetcher

BODY = bytes(range(256)) * 8000
DIGEST = sha256(BODY).hexdigest()
URL = "http://vendor.example.com/ofed.tgz"
PROJECT = Path(__file__).parents[2]

CHILD = """\
import os, signal, sys
from pathlib import Path
from pipeline.errors import PipelineError
from pipeline.events import Note
from pipeline.recipe.model import Downloads
from pipeline.sources.downloads import Fetcher, Request
from pipeline.mirrors import Mirrors

directory, server, pinned, fault = sys.argv[1:]

def told(event):
    print("waiting" if isinstance(event, Note) else event.done, flush=True)

def die(*ignored, **named):
    os.kill(os.getpid(), signal.SIGKILL)

if fault == "rename":
    import pipeline.sources.content
    pipeline.sources.content.rename_to_new = die
if fault == "sync":
    os.fsync = die
fetcher = Fetcher(Path(directory), Mirrors({"http://vendor.example.com": server}),
                  Downloads(attempts=1, timeout=20.0, longest_wait=0.0), told)
try:
    fetcher.fetch_all([Request("http://vendor.example.com/ofed.tgz", pinned or None)], project=Path("/"))
    print("done", flush=True)
except PipelineError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def vendor(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/ofed.tgz").write_bytes(BODY)
    return tmp_path / "root"


def child(directory: Path, server: str, pinned: str = DIGEST, fault: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(directory), server, pinned, fault],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )


def until(process: subprocess.Popen[str], enough: int) -> None:
    """Return when the child has said that so many bytes are there."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().isdigit() and int(line) >= enough:
            return
    raise AssertionError("the child ended")


def end(process: subprocess.Popen[str], how: signal.Signals = signal.SIGKILL) -> int:
    process.send_signal(how)
    process.communicate()
    return process.returncode


def fetch(directory: Path, server: str, pinned: str | None = DIGEST, size: int | None = None) -> Fetched:
    mirrors = Mirrors({"http://vendor.example.com": server})
    fetcher = Fetcher(directory, mirrors, Downloads(attempts=1, timeout=5.0, longest_wait=0.0))
    return fetcher.fetch(URL, sha256=pinned, size=size, project=Path("/"))


def wait_for_size(directory: Path, size: int) -> None:
    """Return when the only partial file has that size."""
    until_then = time.monotonic() + 20
    while [path.stat().st_size for path in (directory / "partial").glob("*.part")] != [size]:
        assert time.monotonic() < until_then
        time.sleep(0.01)


def whole(directory: Path) -> list[str]:
    return [path.name for path in (directory / "sha256").rglob("*") if path.is_file()]


def partial(directory: Path) -> list[Path]:
    return list((directory / "partial").glob("*"))


def test_a_killed_download_is_never_taken_as_whole_and_goes_on_even_from_another_mirror(
    tmp_path: Path, vendor: Path
) -> None:
    store, log = tmp_path / "downloads", tmp_path / "log"
    with Mirror(vendor, faults=Faults(rate=1_000_000)) as slow:
        process = child(store, slow.url)
        until(process, 300_000)
        assert end(process) == -signal.SIGKILL
    assert whole(store) == []
    with Mirror(vendor, access_log=log) as mirror:
        found = fetch(store, mirror.url)
    assert found.path.read_bytes() == BODY
    [line] = log.read_text().splitlines()
    assert line.startswith("GET /ofed.tgz 206 ")
    assert int(line.split()[-1]) >= 300_000
    assert whole(store) == [DIGEST]
    assert partial(store) == []


def test_without_a_digest_a_killed_download_of_the_same_server_goes_on(tmp_path: Path, vendor: Path) -> None:
    store, log = tmp_path / "downloads", tmp_path / "log"
    with Mirror(vendor, faults=Faults(rate=1_000_000), access_log=log) as mirror:
        process = child(store, mirror.url, "")
        until(process, 300_000)
        end(process)
        assert fetch(store, mirror.url, None).sha256 == DIGEST
    assert log.read_text().splitlines()[1].split()[2] == "206"


def test_without_a_digest_what_was_written_before_the_machine_restarted_is_not_trusted(
    tmp_path: Path, vendor: Path
) -> None:
    store, log = tmp_path / "downloads", tmp_path / "log"
    with Mirror(vendor, faults=Faults(rate=1_000_000), access_log=log) as mirror:
        process = child(store, mirror.url, "")
        until(process, 300_000)
        end(process)
        [note] = (store / "partial").glob("*.json")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        note.write_text(note.read_text().replace(boot, "an-earlier-one"))
        assert fetch(store, mirror.url, None).sha256 == DIGEST
    assert log.read_text().splitlines()[1].split()[2:] == ["200", "0"]


@pytest.mark.parametrize("fault", ["sync", "rename"])
@pytest.mark.parametrize("size", [len(BODY), None])
def test_killed_at_the_commit_the_next_run_downloads_nothing_more(
    tmp_path: Path, vendor: Path, fault: str, size: int | None
) -> None:
    store, log = tmp_path / "downloads", tmp_path / "log"
    with Mirror(vendor, access_log=log) as mirror:
        process = child(store, mirror.url, DIGEST, fault)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert whole(store) == []
        assert fetch(store, mirror.url, DIGEST, size).path.read_bytes() == BODY
    later = log.read_text().splitlines()[1:]
    assert later == ([] if size else ["GET /ofed.tgz 416 0"]), "asked only whether that was all of it"
    assert partial(store) == []


def test_who_waits_for_another_run_goes_on_when_that_is_killed(tmp_path: Path, vendor: Path) -> None:
    store = tmp_path / "downloads"
    with Mirror(vendor, faults=Faults(stall=1_000_000)) as stalled, Mirror(vendor) as mirror:
        first = child(store, stalled.url)
        until(first, 0)
        second = child(store, mirror.url)
        assert second.stdout is not None
        assert second.stdout.readline() == "waiting\n"
        end(first)
        assert "done" in second.communicate()[0]
    assert whole(store) == [DIGEST]


def test_an_interrupted_download_ends_soon_and_goes_on_later(tmp_path: Path, vendor: Path) -> None:
    store, log = tmp_path / "downloads", tmp_path / "log"
    with Mirror(vendor, faults=Faults(stall=1_000_000)) as stalled:
        process = child(store, stalled.url)
        until(process, 0)
        wait_for_size(store, 1_000_000)
        begun = time.monotonic()
        assert end(process, signal.SIGINT) not in (0, 1)
        assert time.monotonic() - begun < 2
    with Mirror(vendor, access_log=log) as mirror:
        assert fetch(store, mirror.url).path.read_bytes() == BODY
    assert log.read_text().split()[2] == "206"


FULL = """\
set -e
mount -t tmpfs -o size=1m tmpfs "$1"
shift
"$@" || code=$?
find "$STORE" -type f
exit $code
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root, to mount a small file system"
)
@pytest.mark.parametrize("is_told", [True, False])
def test_a_full_disk_is_named_with_what_is_needed_and_the_partial_file_is_removed(
    tmp_path: Path, vendor: Path, is_told: bool
) -> None:
    from tests.servers import Reply, http_server

    small = tmp_path / "small"
    small.mkdir()
    headers = {} if is_told else {"Content-Length": ""}
    with http_server(lambda number, asked: Reply(body=BODY, headers=headers)) as server:
        process = subprocess.run(
            [
                *("unshare", "-m", "--propagation", "private", "sh", "-c", FULL, "sh", small),
                *(sys.executable, "-c", CHILD, small / "downloads", server.url, DIGEST, ""),
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "STORE": str(small / "downloads")},
        )
    assert process.returncode == 1, process.stderr
    told = process.stdout.splitlines()
    [message] = [line for line in told if "no space left" in line]
    assert f"no space left on {small}, the file system of {small}/downloads/partial" in message
    assert ("2,048,000 bytes more are needed" if is_told else "more is needed") in message
    assert not [line for line in told if line.startswith("/")], "no file is left"
    assert process.stderr == ""
