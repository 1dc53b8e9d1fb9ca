"""What is wrong with a URL as it is written."""

from __future__ import annotations

import pytest

from pipeline.urls import url_fault


@pytest.mark.parametrize(
    "url",
    [
        "http://server/a b", "https://user:pass@server:8080/x?y#z", "ftp://127.0.0.1/x", "http://[::1]:80/",
        "file:///srv/x", "http://server./x", "http://under_score/x", "http://bücher.example/x",
    ],
)  # fmt: skip
def test_what_may_be_an_address_passes(url: str) -> None:
    assert url_fault(url) is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://[bad/x", "host cannot be read"),
        ("http://[bad]/x", "host cannot be read"),
        ("http://a..b/x", "host cannot be read"),
        ("http://a b/x", "host cannot be read"),
        (f"http://{'a' * 64}/x", "host cannot be read"),
        ("http://server:0/x", "from 1 to 65535"),
        ("http://server:65536/x", "from 1 to 65535"),
        ("http://server:http/x", "from 1 to 65535"),
        ("http:///x", "names no host"),
    ],
)
def test_what_can_be_none_is_told_in_words(url: str, words: str) -> None:
    assert words in (url_fault(url) or "")
