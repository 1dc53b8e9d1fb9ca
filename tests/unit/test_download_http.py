"""Downloads over HTTP, from real servers that do what servers do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest

from pipeline.errors import PipelineError, UsageError
from pipeline.events import Event, Note, Observer, Progress, ignore
from pipeline.lab.mirror import Faults, Mirror
from pipeline.mirrors import Mirrors
from pipeline.recipe.model import Downloads
from pipeline.sources.downloads import Fetcher, Request
from tests.servers import Reply, http_server, raw_server

QUICK = Downloads(attempts=3, timeout=5.0, longest_wait=0.01)
BODY = bytes(range(256)) * 2000
DIGEST = sha256(BODY).hexdigest()
URL = "http://vendor.example.com/files/ofed.tgz"


def fetcher(
    directory: Path,
    server: str = "http://127.0.0.1:1",
    observer: Observer = ignore,
    *,
    settings: Downloads = QUICK,
) -> Fetcher:
    """A fetcher for which ``server`` answers for the vendor."""
    mirrors = Mirrors({"http://vendor.example.com": server})
    return Fetcher(directory / "downloads", mirrors, settings, observer)


def left(directory: Path) -> list[str]:
    """The files of the store that are no notes."""
    return sorted(
        str(path.relative_to(directory / "downloads"))
        for path in (directory / "downloads").rglob("*")
        if path.is_file() and path.suffix != ".json"
    )


@pytest.fixture
def vendor(tmp_path: Path) -> Path:
    """A mirror's root that holds the file of the vendor's URL."""
    file = tmp_path / "root/http/vendor.example.com/files/ofed.tgz"
    file.parent.mkdir(parents=True)
    file.write_bytes(BODY)
    return tmp_path / "root"


def test_a_file_is_kept_once_read_only_under_its_digest(tmp_path: Path, vendor: Path) -> None:
    seen: list[Event] = []
    with Mirror(vendor) as mirror:
        found = fetcher(tmp_path, mirror.map("http://vendor.example.com"), seen.append).fetch(
            URL, sha256=DIGEST, size=len(BODY), project=tmp_path
        )
    assert (found.sha256, found.size, found.path.read_bytes()) == (DIGEST, len(BODY), BODY)
    assert found.path.stat().st_mode & 0o777 == 0o444
    assert left(tmp_path) == [f"sha256/{DIGEST[:2]}/{DIGEST}"]
    assert seen[-1] == Progress(image="", what=URL, done=len(BODY), total=len(BODY))


def test_a_file_that_is_here_needs_no_server(tmp_path: Path, vendor: Path) -> None:
    with Mirror(vendor) as mirror:
        first = fetcher(tmp_path, mirror.map("http://vendor.example.com"))
        first.fetch(URL, project=tmp_path)
    assert fetcher(tmp_path, "http://127.0.0.1:1").fetch(URL, sha256=DIGEST, project=tmp_path).size == len(
        BODY
    )


def test_without_a_digest_the_server_is_asked_whether_the_file_still_stands(
    tmp_path: Path, vendor: Path
) -> None:
    log = tmp_path / "log"
    with Mirror(vendor, access_log=log) as mirror:
        fetch = fetcher(tmp_path, mirror.map("http://vendor.example.com")).fetch
        assert fetch(URL, project=tmp_path).sha256 == DIGEST
        assert fetch(URL, project=tmp_path).sha256 == DIGEST
        file = next(vendor.rglob("ofed.tgz"))
        file.write_bytes(b"new")
        assert fetch(URL, project=tmp_path).sha256 == sha256(b"new").hexdigest()
    assert [line.split()[2] for line in log.read_text().splitlines()] == ["200", "304", "200"]


@pytest.mark.parametrize("faults", [Faults(drop=2), Faults(truncate=len(BODY) // 2 + 1)])
def test_what_passes_is_tried_again(tmp_path: Path, vendor: Path, faults: Faults) -> None:
    with Mirror(vendor, faults=faults) as mirror:
        found = fetcher(tmp_path, mirror.map("http://vendor.example.com")).fetch(URL, project=tmp_path)
    assert found.path.read_bytes() == BODY


def test_tries_go_on_where_the_last_one_ended(tmp_path: Path, vendor: Path) -> None:
    log = tmp_path / "log"
    with Mirror(vendor, faults=Faults(truncate=200_000), access_log=log) as mirror:
        fetcher(tmp_path, mirror.map("http://vendor.example.com")).fetch(URL, project=tmp_path)
    assert [line.split()[2:] for line in log.read_text().splitlines()] == [
        ["200", "0"],
        ["206", "200000"],
        ["206", "400000"],
    ]


def test_a_later_run_goes_on_where_an_earlier_one_ended(tmp_path: Path, vendor: Path) -> None:
    log = tmp_path / "log"
    once = Downloads(attempts=1, timeout=5.0, longest_wait=0.0)
    with Mirror(vendor, faults=Faults(truncate=300_000), access_log=log) as mirror:
        server = mirror.map("http://vendor.example.com")
        with pytest.raises(PipelineError, match=r"connection ended, 212,000 bytes are missing .* 1 try"):
            fetcher(tmp_path, server, settings=once).fetch(URL, project=tmp_path)
        fetcher(tmp_path, server, settings=once).fetch(URL, project=tmp_path)
    assert log.read_text().splitlines()[-1].split()[2:] == ["206", "300000"]
    assert left(tmp_path) == [f"sha256/{DIGEST[:2]}/{DIGEST}"]


def test_many_broken_tries_that_each_bring_much_are_not_in_vain(tmp_path: Path, vendor: Path) -> None:
    big = bytes(6 << 20)
    next(vendor.rglob("ofed.tgz")).write_bytes(big)
    with Mirror(vendor, faults=Faults(truncate=(1 << 20) + 1)) as mirror:
        found = fetcher(tmp_path, mirror.map("http://vendor.example.com")).fetch(URL, project=tmp_path)
    assert found.size == len(big)


def test_a_server_without_ranges_that_breaks_now_here_now_there_is_given_up(tmp_path: Path) -> None:
    big = bytes(6 << 20)

    def reply(number: int, headers: Mapping[str, str]) -> Reply:
        return Reply(body=big, cut=(4 << 20) if number % 2 else 1 << 20)

    with http_server(reply) as server, pytest.raises(PipelineError, match="3 tries"):
        fetcher(tmp_path, server.url).fetch(URL, project=tmp_path)
    assert len(server.asked) == 3, "only the first one brought more than there was"


def test_a_stalled_server_is_left_after_the_timeout(tmp_path: Path, vendor: Path) -> None:
    settings = Downloads(attempts=2, timeout=0.2, longest_wait=0.01)
    with Mirror(vendor, faults=Faults(stall=0)) as mirror:
        begun = time.monotonic()
        with pytest.raises(
            PipelineError, match=r"cannot download http://vendor\S+: the server stalled.* 2 tries"
        ):
            fetcher(tmp_path, mirror.map("http://vendor.example.com"), settings=settings).fetch(
                URL, project=tmp_path
            )
        assert 0.4 <= time.monotonic() - begun < 3
    assert left(tmp_path) == []


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (410, 1), (500, 3), (503, 3), (429, 3)])
def test_only_statuses_that_may_change_are_asked_again(tmp_path: Path, status: int, tries: int) -> None:
    with http_server(lambda number, headers: Reply(status)) as server, pytest.raises(PipelineError) as error:
        fetcher(tmp_path, server.url).fetch(URL, project=tmp_path)
    assert len(server.asked) == tries
    assert error.value.exit_code == 1
    assert f"{URL}: the server answered {status}" in str(error.value)
    assert f"{server.url}/files/ofed.tgz, {tries} tr" in str(error.value), "who answered, and how often"
    assert left(tmp_path) == []


def test_a_server_that_is_gone_is_named_with_the_tries(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"refused.*127\.0\.0\.1:1/files/ofed\.tgz, 3 tries"):
        fetcher(tmp_path, "http://127.0.0.1:1").fetch(URL, project=tmp_path)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "the server closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the server answered something that is no HTTP"),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", "neither http nor https"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[x/\r\n\r\n", "the server led to an address that is none"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n", "is no HTTP"),
    ],
    ids=["closed", "ssh", "file", "malformed", "chunks"],
)
def test_a_server_that_answers_nonsense_is_told_in_plain_words(
    tmp_path: Path, answer: bytes, words: str
) -> None:
    with raw_server(answer) as url, pytest.raises(PipelineError) as raised:
        fetcher(tmp_path, url).fetch(URL, project=tmp_path)
    assert words in str(raised.value)
    assert not re.search(r"[A-Z]\w+\(|Errno|adapters|defect|b'", str(raised.value))


def test_a_host_without_address_is_told_without_numbers_of_errors(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"Failed to resolve 'nowhere\.invalid'") as raised:
        fetcher(tmp_path, "http://nowhere.invalid").fetch(URL, project=tmp_path)
    assert "Errno" not in str(raised.value)


def test_another_digest_is_refused_with_both_and_nothing_is_kept(tmp_path: Path) -> None:
    wanted = sha256(b"other").hexdigest()
    with (
        http_server(lambda number, headers: Reply(body=BODY)) as server,
        pytest.raises(PipelineError) as error,
    ):
        fetcher(tmp_path, server.url).fetch(URL, sha256=wanted, project=tmp_path)
    assert f"expected sha256 {wanted}, got sha256 {DIGEST} and 512,000 bytes" in str(error.value)
    assert "1 try" in str(error.value)
    assert left(tmp_path) == []


def test_another_size_is_refused_before_the_file_is_fetched(tmp_path: Path) -> None:
    with (
        http_server(lambda number, headers: Reply(body=BODY)) as server,
        pytest.raises(PipelineError, match="expected 7 bytes, the server has 512,000"),
    ):
        fetcher(tmp_path, server.url).fetch(URL, sha256=DIGEST, size=7, project=tmp_path)
    assert left(tmp_path) == []


def test_a_body_without_a_length_must_have_the_pinned_size(tmp_path: Path) -> None:
    endless = Reply(body=BODY, headers={"Content-Length": ""})
    with http_server(lambda number, headers: endless) as server:
        fetch = fetcher(tmp_path, server.url).fetch
        with pytest.raises(PipelineError, match="expected 7 bytes"):
            fetch(URL, sha256=DIGEST, size=7, project=tmp_path)
        assert fetch(URL, sha256=DIGEST, project=tmp_path).size == len(BODY)


def test_a_body_without_a_length_that_ends_early_is_tried_again(tmp_path: Path) -> None:
    def reply(number: int, headers: Mapping[str, str]) -> Reply:
        return Reply(body=BODY, headers={"Content-Length": ""}, cut=1000 if number == 1 else None)

    with http_server(reply) as server:
        found = fetcher(tmp_path, server.url).fetch(URL, sha256=DIGEST, size=len(BODY), project=tmp_path)
    assert found.path.read_bytes() == BODY
    assert len(server.asked) == 2


@pytest.mark.parametrize("pinned", [DIGEST, None])
def test_a_server_without_ranges_sends_all_of_it_again(tmp_path: Path, pinned: str | None) -> None:
    def reply(number: int, headers: Mapping[str, str]) -> Reply:
        return Reply(body=BODY, headers={"ETag": '"1"'}, cut=1000 if number == 1 else None)

    with http_server(reply) as server:
        assert (
            fetcher(tmp_path, server.url).fetch(URL, sha256=pinned, project=tmp_path).path.read_bytes()
            == BODY
        )
    assert server.asked[1]["Range"] == "bytes=1000-"
    assert server.asked[1]["If-Range"] == '"1"'


def partial_content(body: bytes, headers: Mapping[str, str], **more: str) -> Reply:
    """What a server with ranges answers when it does not look at ``If-Range``."""
    first = int(headers.get("Range", "bytes=0-")[6:-1])
    told = {"Content-Range": f"bytes {first}-{len(body) - 1}/{len(body)}"} if first else {}
    return Reply(206 if first else 200, body[first:], {**told, **more})


def test_a_file_that_changes_between_tries_is_fetched_anew(tmp_path: Path) -> None:
    old = bytes(len(BODY))

    def reply(number: int, headers: Mapping[str, str]) -> Reply:
        return Reply(body=old, cut=1000) if number == 1 else partial_content(BODY, headers)

    with http_server(reply) as server:
        assert (
            fetcher(tmp_path, server.url).fetch(URL, sha256=DIGEST, project=tmp_path).path.read_bytes()
            == BODY
        )
    assert [asked.get("Range") for asked in server.asked] == [None, "bytes=1000-", None]


def test_without_digest_and_entity_tag_pieces_are_never_joined(tmp_path: Path) -> None:
    def reply(number: int, headers: Mapping[str, str]) -> Reply:
        return Reply(body=BODY, cut=1000) if number == 1 else partial_content(BODY, headers)

    with http_server(reply) as server:
        fetcher(tmp_path, server.url).fetch(URL, project=tmp_path)
    assert [asked.get("Range") for asked in server.asked] == [None, None]


def test_a_file_that_has_shrunk_or_a_server_that_miscounts_is_started_over(tmp_path: Path) -> None:
    def shrunk(number: int, headers: Mapping[str, str]) -> Reply:
        if number == 1:
            return Reply(body=bytes(2 * len(BODY)), cut=len(BODY) + 1000)
        return (
            Reply(416, headers={"Content-Range": f"bytes */{len(BODY)}"})
            if "Range" in headers
            else Reply(body=BODY)
        )

    def miscounting(number: int, headers: Mapping[str, str]) -> Reply:
        tag = {"ETag": '"1"'}
        if number == 1:
            return Reply(body=BODY, headers=tag, cut=1000)
        end = len(BODY) - 996
        wrong = Reply(206, BODY[5 : end + 1], {"Content-Range": f"bytes 5-{end}/{len(BODY)}", **tag})
        return wrong if "Range" in headers else Reply(body=BODY, headers=tag)

    for number, (reply, pinned) in enumerate(((shrunk, DIGEST), (miscounting, None))):
        with http_server(reply) as server:
            found = fetcher(tmp_path / str(number), server.url).fetch(URL, sha256=pinned, project=tmp_path)
        assert found.path.read_bytes() == BODY
        assert len(server.asked) == 3


def test_a_date_of_change_that_is_too_young_is_no_proof(tmp_path: Path) -> None:
    now = "Sun, 06 Nov 2044 08:49:37 GMT"

    def reply(number: int, headers: Mapping[str, str]) -> Reply:
        return Reply(body=BODY, headers={"Last-Modified": now}, cut=1000 if number == 1 else None)

    with http_server(reply) as server:
        fetcher(tmp_path, server.url).fetch(URL, project=tmp_path)
    assert "Range" not in server.asked[1]


def test_bytes_are_kept_as_sent_whatever_the_content_encoding(tmp_path: Path) -> None:
    with http_server(
        lambda number, headers: Reply(body=BODY, headers={"Content-Encoding": "gzip"})
    ) as server:
        assert fetcher(tmp_path, server.url).fetch(URL, sha256=DIGEST, project=tmp_path).size == len(BODY)
    assert server.asked[0]["Accept-Encoding"] == "identity"


def test_a_redirect_is_followed_and_the_error_names_where_it_led(tmp_path: Path) -> None:
    with (
        http_server(lambda number, headers: Reply(body=BODY)) as last,
        http_server(lambda number, headers: Reply(302, headers={"Location": f"{last.url}/x"})) as first,
        pytest.raises(PipelineError, match=f"{last.url}/x, 1 try"),
    ):
        fetcher(tmp_path, first.url).fetch(URL, sha256="0" * 64, project=tmp_path)


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    with http_server(lambda number, headers: Reply()) as server:
        found = fetcher(tmp_path, server.url).fetch(URL, project=tmp_path)
    assert found.path.read_bytes() == b""


def test_a_damaged_store_file_of_another_size_is_replaced(tmp_path: Path) -> None:
    with http_server(lambda number, headers: Reply(body=BODY)) as server:
        fetch = fetcher(tmp_path, server.url).fetch
        kept = fetch(URL, sha256=DIGEST, size=len(BODY), project=tmp_path).path
        os.truncate(kept, 5)
        assert fetch(URL, sha256=DIGEST, size=len(BODY), project=tmp_path).path.read_bytes() == BODY


@pytest.mark.parametrize("pinned", [DIGEST, None])
def test_two_fetchers_of_one_file_share_one_download(tmp_path: Path, pinned: str | None) -> None:
    go_on = threading.Event()

    def reply(number: int, headers: Mapping[str, str]) -> Reply:
        if headers.get("If-None-Match") == '"1"':
            return Reply(304)
        assert go_on.wait(10)
        return Reply(body=BODY, headers={"ETag": '"1"'})

    def told(event: Event) -> None:
        if isinstance(event, Note) and "waiting for another run" in event.text:
            go_on.set()

    found: list[str] = []
    with http_server(reply) as server:
        mirrors = Mirrors({"http://vendor.example.com": server.url})

        def fetch() -> None:
            one = Fetcher(tmp_path / "downloads", mirrors, QUICK, told)
            found.append(one.fetch(URL, sha256=pinned, project=tmp_path).sha256)

        threads = [threading.Thread(target=fetch) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [DIGEST, DIGEST]
    assert (tmp_path / f"downloads/sha256/{DIGEST[:2]}/{DIGEST}").read_bytes() == BODY
    assert len([asked for asked in server.asked if "If-None-Match" not in asked]) == 1
    assert left(tmp_path) == [f"sha256/{DIGEST[:2]}/{DIGEST}"]


def test_several_files_come_at_once_in_the_order_asked_for(tmp_path: Path) -> None:
    together = threading.Barrier(4)

    def reply(number: int, headers: Mapping[str, str]) -> Reply:
        together.wait(10)
        return Reply(body=BODY)

    with http_server(reply) as server:
        requests = [Request(f"http://vendor.example.com/{number}") for number in range(4)]
        found = fetcher(tmp_path, server.url).fetch_all([*requests, requests[0]], project=tmp_path)
    assert [each.sha256 for each in found] == [DIGEST] * 5
    assert len(server.asked) == 4, "the same request twice is one download"


def test_all_that_cannot_be_fetched_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"x")
    with http_server(lambda number, headers: Reply(404)) as server, pytest.raises(PipelineError) as error:
        fetcher(tmp_path, server.url).fetch_all(
            [Request(URL), Request("here", "0" * 64), Request("gone.rpm")], project=tmp_path
        )
    told = [problem.message for problem in error.value.problems]
    assert len(told) == 3
    assert "404" in told[0]
    assert f"expected sha256 {'0' * 64}, got {sha256(b'x').hexdigest()}" in told[1]
    assert "there is no file" in told[2]


@pytest.mark.parametrize(
    "location", ["gopher://x/y", "http:///x", "http://[::1/x", "http://x:99999/", "", "a\0b"]
)
def test_what_is_no_location_is_refused_before_anything_is_asked(tmp_path: Path, location: str) -> None:
    with pytest.raises(UsageError):
        fetcher(tmp_path).fetch(location, project=tmp_path)


def test_a_directory_answers_for_a_url_and_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "served/files").mkdir(parents=True)
    (tmp_path / "served/files/ofed.tgz").write_bytes(BODY)
    fetch = fetcher(tmp_path, str(tmp_path / "served")).fetch
    assert fetch(URL, sha256=DIGEST, project=tmp_path).path == tmp_path / "served/files/ofed.tgz"
    with pytest.raises(PipelineError, match=f"{URL}.*: expected sha256 {'0' * 64}, got {DIGEST}"):
        fetch(URL, sha256="0" * 64, project=tmp_path)
    with pytest.raises(
        PipelineError, match=r"there is no file .*/served/nothing .*vendor.example.com/nothing"
    ):
        fetch("http://vendor.example.com/nothing", project=tmp_path)


def test_a_file_that_is_here_already_is_moved_into_the_store(tmp_path: Path) -> None:
    (tmp_path / "x.rpm").write_bytes(BODY)
    kept = fetcher(tmp_path).keep(tmp_path / "x.rpm")
    assert (kept.sha256, kept.size, kept.path.read_bytes()) == (DIGEST, len(BODY), BODY)
    assert left(tmp_path) == [f"sha256/{DIGEST[:2]}/{DIGEST}"]
    assert not (tmp_path / "x.rpm").exists()
    with pytest.raises(PipelineError, match="No such file"):
        fetcher(tmp_path).keep(tmp_path / "x.rpm")


def test_paths_are_those_of_the_project_or_absolute(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/é x").write_bytes(BODY)
    fetch = fetcher(tmp_path).fetch
    for location in ("files/é x", str(tmp_path / "files/é x"), f"file://{tmp_path}/files/%C3%A9%20x"):
        assert fetch(location, sha256=DIGEST, project=tmp_path).path == tmp_path / "files/é x"


def test_the_modules_for_no_op_runs_do_not_load_slow_libraries() -> None:
    program = (
        "import sys, pipeline.sources.lock, pipeline.sources.downloads, pipeline.sources.repodata,"
        " pipeline.sources.rpmheader\n"
        "print(*sorted({'requests', 'tenacity', 'toml', 'rpmfile', 'urllib3', 'ftplib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_password_of_a_mirror_is_neither_told_nor_kept(tmp_path: Path) -> None:
    def reply(number: int, headers: Mapping[str, str]) -> Reply:
        assert headers["Authorization"].startswith("Basic ")
        tag = {"ETag": '"a"'}
        return Reply(404) if number == 2 else Reply(body=BODY, headers=tag, cut=10 if number == 1 else None)

    with http_server(reply) as server:
        url = server.url.replace("://", "://me:se%40cret@")
        with pytest.raises(PipelineError) as raised:
            fetcher(tmp_path, url).fetch(URL, project=tmp_path)
        assert "cret" not in str(raised.value) and "http://***@127.0.0.1:" in str(raised.value)
        fetcher(tmp_path, url).fetch(URL, project=tmp_path)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"cret" not in path.read_bytes(), path


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_lets_nobody_in_is_told_with_the_way_in(tmp_path: Path, status: int) -> None:
    with http_server(lambda *_: Reply(status)) as server, pytest.raises(PipelineError) as raised:
        fetcher(tmp_path, server.url).fetch(URL, project=tmp_path)
    assert "under [mirrors]" in (raised.value.problems[0].hint or "")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_no_proxy_is_asked_for_what_this_machine_serves(
    tmp_path: Path, vendor: Path, no_proxies: pytest.MonkeyPatch
) -> None:
    no_proxies.setenv("http_proxy", "http://127.0.0.1:1")
    with Mirror(vendor) as mirror:
        for number, host in enumerate(("127.0.0.1", "localhost")):
            url = mirror.map("http://vendor.example.com").replace("127.0.0.1", host)
            found = fetcher(tmp_path / str(number), url).fetch(URL, project=tmp_path)
            assert found.sha256 == DIGEST


def test_the_proxy_of_the_environment_is_used_and_named_when_it_fails(
    tmp_path: Path, no_proxies: pytest.MonkeyPatch
) -> None:
    with http_server(lambda number, headers: Reply(body=BODY) if number == 1 else Reply(502)) as proxy:
        no_proxies.setenv("http_proxy", proxy.url.replace("://", "://me:secret@"))
        assert Fetcher(tmp_path / "one", Mirrors({}), QUICK, ignore).fetch(URL, project=tmp_path).size == len(
            BODY
        )
        assert proxy.asked[0]["Host"] == "vendor.example.com"
        with pytest.raises(
            PipelineError, match="answered 502 Bad Gateway, through the proxy http://"
        ) as caught:
            Fetcher(tmp_path / "two", Mirrors({}), QUICK, ignore).fetch(URL, project=tmp_path)
        assert "secret" not in str(caught.value)
    with pytest.raises(PipelineError, match="refused, through the proxy http://"):
        Fetcher(tmp_path / "two", Mirrors({}), QUICK, ignore).fetch(URL, project=tmp_path)
