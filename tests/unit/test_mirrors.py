from __future__ import annotations

import pytest

from pipeline.errors import UsageError
from pipeline.mirrors import Mirrors

SITE = {
    "http://www.mellanox.com": "http://127.0.0.1:8000/http/www.mellanox.com",
    "http://www.mellanox.com/downloads/ofed/": "/srv/my ofed/",
    "ftp://old.example.com/pub": "https://new.example.com/",
}


@pytest.mark.parametrize(
    ("url", "answers"),
    [
        ("http://www.mellanox.com/a/b.rpm", "http://127.0.0.1:8000/http/www.mellanox.com/a/b.rpm"),
        ("HTTP://WWW.Mellanox.com/A", "http://127.0.0.1:8000/http/www.mellanox.com/A"),
        ("http://www.mellanox.com/downloads/ofed/x%20y.tgz#top", "/srv/my ofed/x y.tgz"),
        (
            "http://www.mellanox.com/downloads/ofedx",
            "http://127.0.0.1:8000/http/www.mellanox.com/downloads/ofedx",
        ),
        ("http://www.mellanox.community/a", "http://www.mellanox.community/a"),
        ("http://www.mellanox.com?q", "http://127.0.0.1:8000/http/www.mellanox.com?q"),
        ("ftp://old.example.com/pub/x", "https://new.example.com/x"),
        ("ftp://old.example.com/public", "ftp://old.example.com/public"),
        ("files/x.tgz", "files/x.tgz"),
    ],
)
def test_the_longest_prefix_says_what_answers(url: str, answers: str) -> None:
    assert Mirrors(SITE).to(url) == answers


@pytest.mark.parametrize(
    "url",
    [
        "http://www.mellanox.com/a/b.rpm",
        "http://www.mellanox.com/downloads/ofed/x%20y.tgz",
        "http://www.mellanox.com/downloads/ofed/x?y=%C3%A9",
        "http://elsewhere.example.com/x",
        "ftp://old.example.com/pub/x",
    ],
)
def test_the_way_back_gives_the_original_url(url: str) -> None:
    mirrors = Mirrors(SITE)
    assert mirrors.back(mirrors.to(url)) == url


def test_file_urls_of_a_mirror_directory_have_a_way_back_too() -> None:
    assert (
        Mirrors(SITE).back("file:///srv/my%20ofed/r/x.rpm")
        == "http://www.mellanox.com/downloads/ofed/r/x.rpm"
    )


@pytest.mark.parametrize("way", ["../secret", "a/../../secret", "%2e%2e/secret", "a%00b"])
def test_a_url_cannot_lead_out_of_the_directory_that_answers_for_it(way: str) -> None:
    with pytest.raises(UsageError, match="leads out of"):
        Mirrors(SITE).to(f"http://www.mellanox.com/downloads/ofed/{way}")
