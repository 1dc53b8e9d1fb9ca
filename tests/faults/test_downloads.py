"""Sources that fail: told with the source, what was expected and got, and the tries; never used or kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.lab.mirror import Faults, Mirror
from tests.faults.archives import tar_with
from tests.faults.site import Site, archive_stage
from tests.servers import Reply, http_server

URL = "http://vendor.example.com/x.tar"
GOOD = tar_with({"hello": b"hello" * 20_000})
DIGEST = hashlib.sha256(GOOD).hexdigest()
OTHER = tar_with({"hello": b"other" * 20_000})


def mirrored(site: Site, url: str) -> None:
    site.settle(f'[mirrors]\n"http://vendor.example.com" = "{url}"\n')


@contextmanager
def serving(site: Site, reply: Callable[[int, Mapping[str, str]], Reply]) -> Iterator[list[dict[str, str]]]:
    """A server that answers for the vendor; yields the requests that it got."""
    with http_server(reply) as server:
        mirrored(site, server.url)
        yield server.asked


def check_failed(site: Site, *words: str) -> str:
    """Build, and assert the failure's words; nothing of the download may be found whole."""
    ended = site.run("build")
    assert ended.exit_code == 1, ended.err
    assert f'stage "archive": cannot download {URL}: ' in ended.err
    assert f"pipeline: web: {site.line('[[stage]]')}: " in ended.err
    for word in words:
        assert word in ended.err
    assert "archive" not in site.layers()
    assert not list((site.store / "downloads").glob("sha256/*/*"))
    return ended.err


def check_works_afterwards(site: Site) -> None:
    with serving(site, lambda number, headers: Reply(body=GOOD)):
        assert site.run("build").exit_code == 0


def test_a_file_with_another_digest_than_the_recipes_is_refused(site: Site) -> None:
    site.recipe(archive_stage(URL, more=f'sha256 = "{"0" * 64}"\n'))
    with serving(site, lambda number, headers: Reply(body=GOOD)) as asked:
        check_failed(site, f"expected sha256 {'0' * 64}, got sha256 {DIGEST}", "1 try", "hint: ")
    assert len(asked) == 1


def test_a_file_that_changed_on_the_server_since_it_was_locked_is_refused(site: Site, tmp_path: Path) -> None:
    site.recipe(archive_stage(URL))
    with serving(site, lambda number, headers: Reply(body=GOOD)):
        assert site.run("build").exit_code == 0
    before = site.lock().read_bytes()
    (site.store).rename(tmp_path / "old store")
    with serving(site, lambda number, headers: Reply(body=OTHER)):
        got = hashlib.sha256(OTHER).hexdigest()
        check_failed(site, f"expected sha256 {DIGEST}", f"got sha256 {got}", "lock again")
    assert site.lock().read_bytes() == before


def test_a_truncated_file_is_tried_again_and_never_used(site: Site) -> None:
    site.recipe(archive_stage(URL, more=f'sha256 = "{DIGEST}"\n'))
    with serving(site, lambda number, headers: Reply(body=GOOD, cut=50_000)) as asked:
        check_failed(site, "2 tries")
    assert len(asked) == 2
    check_works_afterwards(site)


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (500, 2), (503, 2)])
def test_an_error_of_the_server_is_told_and_only_a_passing_one_is_tried_again(
    site: Site, status: int, tries: int
) -> None:
    site.recipe(archive_stage(URL))
    with serving(site, lambda number, headers: Reply(status, b"no")) as asked:
        check_failed(site, f"the server answered {status}", f"{tries} tr")
    assert len(asked) == tries


def test_a_server_that_errs_only_once_is_no_failure(site: Site) -> None:
    site.recipe(archive_stage(URL))
    with serving(site, lambda number, headers: Reply(500) if number == 1 else Reply(body=GOOD)):
        assert site.run("build").exit_code == 0


def test_a_server_that_stalls_is_given_up_after_the_sites_timeout(site: Site, tmp_path: Path) -> None:
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor/x.tar").write_bytes(GOOD)
    site.recipe(archive_stage(URL))
    with Mirror(tmp_path / "vendor", faults=Faults(stall=20_000)) as mirror:
        mirrored(site, mirror.url)
        check_failed(site, "stalled", "2 tries")


def test_a_server_that_is_slow_but_goes_on_is_no_failure(site: Site, tmp_path: Path) -> None:
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor/x.tar").write_bytes(GOOD)
    site.recipe(archive_stage(URL))
    with Mirror(tmp_path / "vendor", faults=Faults(rate=len(GOOD) // 3)) as mirror:
        mirrored(
            site, mirror.url
        )  # a second without a byte is too long; this takes three, and no two tries of one second
        ended = site.run("build")
    assert ended.exit_code == 0, ended.err
    assert (site.images / "web/opt/x/hello").read_bytes() == b"hello" * 20_000


def test_what_a_cut_connection_left_is_gone_on_from_and_checked_as_a_whole(site: Site) -> None:
    site.recipe(archive_stage(URL, more=f'sha256 = "{DIGEST}"\n'))
    with serving(site, lambda number, headers: Reply(body=OTHER, cut=50_000)):
        check_failed(site, "2 tries")

    def rest(number: int, headers: Mapping[str, str]) -> Reply:
        first = int(headers.get("Range", "bytes=0-")[6:].rstrip("-"))
        where = {"Content-Range": f"bytes {first}-{len(GOOD) - 1}/{len(GOOD)}"}
        return Reply(206, GOOD[first:], where) if first else Reply(body=GOOD)

    with serving(site, rest) as asked:
        assert site.run("build").exit_code == 0
    assert [headers.get("Range") for headers in asked] == ["bytes=50000-", None]
    assert (site.images / "web/opt/x/hello").read_bytes() == b"hello" * 20_000


def test_a_server_that_is_gone_is_told_with_the_tries(site: Site, tmp_path: Path) -> None:
    site.recipe(archive_stage(URL))
    with Mirror(tmp_path) as mirror:
        mirrored(site, mirror.url)
    check_failed(site, "refused", "2 tries")
    check_works_afterwards(site)


REPO = '\n[[stage]]\nname = "archive"\ntype = "repository"\nsource = "http://vendor.example.com/x.repo"\n'
KNOWN_REPO = b"[x]\nname=x\nbaseurl=http://vendor.example.com/x\ngpgcheck=1\n"
PAGE = b"<!DOCTYPE html><html>Please log in</html>"
UNREADABLE = {
    "a page for an archive": (archive_stage(URL), PAGE, GOOD, "it is a web page"),
    "half an archive": (archive_stage(URL), GOOD[:3000], GOOD, "damaged or not whole"),
    "a page for a .repo file": (REPO, PAGE, KNOWN_REPO, "is no repository file"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_first_download_that_is_unreadable_says_how_another_is_fetched(site: Site, kind: str) -> None:
    stage, bad, good, told = UNREADABLE[kind]
    site.recipe(stage)
    with serving(site, lambda number, headers: Reply(body=bad if number == 1 else good)) as asked:
        for _ in range(2):
            ended = site.run("build")
            assert ended.exit_code == 1
            assert told in ended.err
            assert "fetched when recipe.lock was made" in ended.err
            assert "run: pipeline lock web" in ended.err
            assert "archive" not in site.layers()
        assert len(asked) == 1
        assert site.run("lock", "web").exit_code == 0
        assert site.run("build").exit_code == 0


def test_what_the_recipe_itself_pins_is_not_to_be_locked_anew(site: Site) -> None:
    digest = hashlib.sha256(PAGE).hexdigest()
    site.recipe(archive_stage(URL, more=f'sha256 = "{digest}"\n'))
    with serving(site, lambda number, headers: Reply(body=PAGE)):
        ended = site.run("build")
    assert "it is a web page" in ended.err
    assert "pipeline lock" not in ended.err
    assert "run: pipeline shell web --stage archive" in ended.err


def test_a_local_source_that_is_missing_is_told_with_its_stage_and_line(site: Site) -> None:
    site.recipe(archive_stage("files/x.tar"))
    ended = site.run("build")
    assert ended.exit_code == 2
    told = f'{site.line("source =")}: stage 1 "archive": "files/x.tar" does not exist'
    assert told in ended.err


def test_what_one_image_lacks_does_not_keep_another_from_its_version(site: Site) -> None:
    site.recipe(archive_stage(URL), image="unlucky")
    site.recipe('\n[[stage]]\nname = "a"\ntype = "file"\npath = "/etc/a"\ntouch = true\n', image="lucky")
    with serving(site, lambda number, headers: Reply(404)):
        ended = site.run("build", "--json")
    images = ended.images()
    assert (images["lucky"]["exit_code"], images["lucky"]["version"]) == (0, 1)
    assert (images["unlucky"]["exit_code"], images["unlucky"]["version"]) == (1, None)
    assert ended.exit_code == 1
    assert (site.images / "lucky").is_symlink() and not (site.images / "unlucky").exists()


def test_a_failed_resolution_keeps_the_lock_as_it_was(site: Site) -> None:
    others = "http://vendor.example.com/other.tar"
    site.recipe(archive_stage(URL), archive_stage(others, name="other"))
    with serving(site, lambda number, headers: Reply(body=GOOD)):
        assert site.run("build").exit_code == 0
    before = site.lock().read_bytes()
    with serving(site, lambda number, headers: Reply(body=OTHER) if number == 1 else Reply(404)):
        assert site.run("lock").exit_code == 1
    assert site.lock().read_bytes() == before
    assert site.run("build", "--locked").exit_code == 0
