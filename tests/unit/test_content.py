"""Files in the store by their content."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from pipeline.sources.content import ContentStore


def keep(store: ContentStore, path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    digest = sha256(content).hexdigest()
    with open(path, "r+b") as stream:
        store.keep(path, stream, digest)
    return store.path(digest)


def test_a_file_that_is_kept_is_not_replaced_by_another_run_that_fetched_it_too(tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "downloads")
    first = keep(store, tmp_path / "one", b"content").stat().st_ino
    second = keep(store, tmp_path / "two", b"content")
    assert second.stat().st_ino == first, "a chroot may have mounted it"
    assert not (tmp_path / "two").exists()


def test_a_file_that_lost_its_content_is_replaced(tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "downloads")
    kept = keep(store, tmp_path / "one", b"content")
    kept.chmod(0o644)
    kept.write_bytes(b"")
    assert keep(store, tmp_path / "two", b"content").read_bytes() == b"content"
