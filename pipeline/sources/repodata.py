"""Which URL of a yum repository a package file came from, by its digest (``repodata/`` of createrepo)."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TypeAlias
from urllib.parse import quote, urljoin
from xml.etree import ElementTree

import msgspec

from pipeline import programs
from pipeline.errors import PipelineError
from pipeline.mirrors import is_url
from pipeline.sources.downloads import Fetcher

REPO = "{http://linux.duke.edu/metadata/repo}"
COMMON = "{http://linux.duke.edu/metadata/common}"
XML_BASE = "{http://www.w3.org/XML/1998/namespace}base"
DIGESTS = {"sha": "sha1", "sha1": "sha1", "sha256": "sha256", "sha512": "sha512"}
"""createrepo's names, and hashlib's; EL5 and EL6 write ``sha``."""

Bytes: TypeAlias = IO[bytes] | gzip.GzipFile


class Checksum(msgspec.Struct, frozen=True):
    """A digest in hex, with hashlib's name of its kind."""

    kind: str
    digest: str


class Repository(msgspec.Struct, frozen=True):
    """What a repository at ``url`` holds: the URL of each package file, by its digest."""

    url: str
    packages: Mapping[Checksum, str]


def read(url: str, fetcher: Fetcher, project: Path) -> Repository:
    """The repository at ``url`` (as ``Fetcher.fetch`` takes them), checked as its repomd.xml says.

    Raises ``PipelineError`` when it cannot be read or is damaged.
    """
    base = url.rstrip("/") + "/"
    repomd = fetcher.fetch(f"{base}repodata/repomd.xml", project=project).path
    with _explained(base, "repomd.xml"):
        href, wanted = _primary(ElementTree.parse(repomd).getroot())
    pinned = wanted.digest if wanted.kind == "sha256" else None
    primary = fetcher.fetch(_below(base, href), sha256=pinned, project=project).path
    found = _digest(primary, wanted.kind)
    if found != wanted.digest:
        raise PipelineError(
            f"{base}{href}: repomd.xml says {wanted.kind} {wanted.digest}, got {found}",
            hint="the repository may be changing just now: try again",
        )
    with _explained(base, href), _opened(primary, href) as stream:
        return Repository(url, dict(_packages(stream, base)))


def locate(urls: Iterable[str], files: Iterable[Path], fetcher: Fetcher, project: Path) -> dict[Path, str]:
    """The original URL of each package file that one of the repositories at ``urls`` holds.

    Files that none of them holds are absent. The repositories are asked in their order, and only until all is
    found; one that cannot be read is an error only when something is missing without it.
    """
    left, found, errors = list(files), {}, []
    for url in urls:
        if not left:
            break
        try:
            repository = read(url, fetcher, project)
        except PipelineError as error:
            errors.append(error)
            continue
        for file, place in _held(repository, left):
            found[file] = fetcher.original(place)
        left = [file for file in left if file not in found]
    if left and errors:
        raise PipelineError([problem for error in errors for problem in error.problems])
    return found


def locate_kept(folders: Mapping[Path, str], files: Iterable[Path], fetcher: Fetcher) -> dict[Path, str]:
    """The same by the lists that a package manager keeps in ``folders``, each with its repository's URL.

    Nothing is asked for. Lists that are not there, or cannot be read, hold nothing.
    """
    left, found = list(files), {}
    for folder, url in folders.items():
        repository = read_kept(url, folder) if left else None
        for file, place in _held(repository, left) if repository else ():
            found[file] = fetcher.original(place)
        left = [file for file in left if file not in found]
    return found


def read_kept(url: str, folder: Path) -> Repository | None:
    """The repository at ``url`` by what a package manager has downloaded of it into ``folder``, if it has.

    dnf keeps files under the repository's names, yum 3 under others and unpacked; so they are known by the
    digests in repomd.xml.
    """
    base = url.rstrip("/") + "/"
    paths = [Path(place, name) for place, _, names in os.walk(folder) for name in sorted(names)]
    repomd = next((path for path in paths if path.name == "repomd.xml"), None)
    likely = [path for path in paths if "primary" in path.name and path.is_file()]
    if repomd is None:
        return None
    try:
        with _explained(base, "the lists of it that are kept"):
            root = ElementTree.parse(repomd).getroot()
            for kind, rows in (("primary", _packages), ("primary_db", _database_packages)):
                path = _with_digest(likely, _digests(root, kind))
                if path is not None:
                    with _opened(path, path.name) as stream:
                        return Repository(url, dict(rows(stream, base)))
    except PipelineError:
        pass
    return None


def _digests(root: ElementTree.Element, kind: str) -> tuple[Checksum, ...]:
    """Those of a list as it is sent, and unpacked."""
    names = (f"{REPO}checksum", f"{REPO}open-checksum")
    wanted = [data for data in root.iter(f"{REPO}data") if data.get("type") == kind]
    return tuple(_checksum(found) for data in wanted for name in names for found in data.iter(name))


def _with_digest(paths: Iterable[Path], digests: Iterable[Checksum]) -> Path | None:
    wanted = tuple(digests)
    return next(
        (path for path in paths for each in wanted if _digest(path, each.kind) == each.digest),
        None,
    )


def _database_packages(stream: Bytes, base: str) -> Iterator[tuple[Checksum, str]]:
    """The same of the list as a database, which is all that yum 3 reads where there is one."""
    import sqlite3

    with TemporaryDirectory(prefix="repodata-") as directory:
        plain = Path(directory, "primary.sqlite")
        with plain.open("wb") as file:
            shutil.copyfileobj(stream, file)
        columns = "checksum_type, pkgId, location_base, location_href"
        with closing(sqlite3.connect(plain)) as database:
            try:
                for kind, digest, own_base, href in database.execute(f"SELECT {columns} FROM packages"):
                    yield _known(kind, digest), _placed(base, own_base, href)
            except sqlite3.Error as error:
                raise ValueError(str(error)) from None


def _held(repository: Repository, files: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    kinds = {checksum.kind for checksum in repository.packages}
    for file in files:
        for kind in kinds:
            place = repository.packages.get(Checksum(kind, _digest(file, kind)))
            if place is not None:
                yield file, place
                break


def _primary(root: ElementTree.Element) -> tuple[str, Checksum]:
    """Where the list of packages is, below the repository, and its digest."""
    for data in root.iter(f"{REPO}data"):
        if data.get("type") == "primary":
            place, checksum = data.find(f"{REPO}location"), data.find(f"{REPO}checksum")
            if place is not None and checksum is not None:
                return place.attrib["href"], _checksum(checksum)
    raise PipelineError("it does not name a list of packages (primary)")


def _packages(stream: Bytes, base: str) -> Iterator[tuple[Checksum, str]]:
    """Package by package, so that the list of a whole distribution need not be in memory."""
    events = ElementTree.iterparse(stream, events=("start", "end"))
    _, root = next(events)
    for event, element in events:
        if event != "end" or element.tag != f"{COMMON}package":
            continue
        checksum, place = element.find(f"{COMMON}checksum"), element.find(f"{COMMON}location")
        if checksum is not None and place is not None:
            yield _checksum(checksum), _placed(base, place.get(XML_BASE), place.attrib["href"])
        root.clear()


def _checksum(element: ElementTree.Element) -> Checksum:
    return _known(element.get("type", ""), element.text or "")


def _known(kind: str, digest: str) -> Checksum:
    if kind not in DIGESTS:
        raise PipelineError(f"it has digests of a kind that is not known: {kind!r}")
    return Checksum(DIGESTS[kind], digest.strip().lower())


def _placed(base: str, own_base: str | None, href: str) -> str:
    """The URL of a package; ``own_base``: where it lies, if not in the repository at ``base``."""
    return _package_below(own_base.rstrip("/") + "/" if own_base else base, href)


def _below(base: str, href: str) -> str:
    """``href`` below ``base``, which may be a directory; a whole URL stays what it is."""
    return urljoin(base, href) if "://" in href else base + href.lstrip("/")


def _package_below(base: str, href: str) -> str:
    """The URL of the package ``href``, which createrepo writes as the file is called; quoted as dnf does."""
    return _below(base, quote(href) if is_url(base) and "://" not in href else href)


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Bytes]:
    """The content of ``path``, decompressed as the end of ``name`` says."""
    if name.endswith(".gz"):
        with gzip.open(path) as stream:
            yield stream
    elif name.endswith(".bz2"):
        with bz2.open(path) as stream:
            yield stream
    elif name.endswith((".xz", ".lzma")):
        with lzma.open(path) as stream:
            yield stream
    elif name.endswith((".zst", ".zstd")):
        # Python has no zstd before 3.14.
        with TemporaryDirectory(prefix="repodata-") as directory:
            plain = Path(directory, "primary.xml")
            programs.run(["zstd", "-q", "-d", str(path), "-o", str(plain)])
            with plain.open("rb") as stream:
                yield stream
    else:
        with path.open("rb") as stream:
            yield stream


@contextmanager
def _explained(base: str, name: str) -> Iterator[None]:
    """Name the file of the repository that is damaged."""
    try:
        yield
    except (
        ElementTree.ParseError,
        EOFError,
        OSError,
        lzma.LZMAError,
        ValueError,
        KeyError,
        StopIteration,
    ) as error:
        raise PipelineError(f"{base}{name} is damaged: {error}") from None
    except PipelineError as error:
        raise PipelineError(
            f"{base}{name}: {error.problems[0].message}", hint=error.problems[0].hint
        ) from None
