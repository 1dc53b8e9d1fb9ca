"""What answers for a URL: the site's mirrors, by URL prefix. Recipes and locks keep the original URLs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from pipeline.errors import UsageError

FILE_SCHEME = "file://"
UNQUOTED = "/:@!$&'()*+,;=~?"


def is_url(location: str) -> bool:
    """Whether ``location`` is a URL and not a path."""
    scheme, separator, _ = location.partition("://")
    return bool(separator) and scheme.isascii() and scheme.replace("+", "").isalnum()


class Mirrors:
    """The site's mirrors: URL prefix to what answers for it, a URL or a directory.

    A prefix ends where a part of the path ends: ``http://host/a`` stands for ``http://host/a/b``, not for
    ``http://host/ab``. The longest prefix wins; what it is mapped to is not looked up again.
    """

    def __init__(self, prefixes: Mapping[str, str] | Callable[[], Mapping[str, str]]) -> None:
        """A function is asked for the mirrors when the first URL is looked up, and not before."""
        self._given = prefixes

    @cached_property
    def _prefixes(self) -> dict[str, str]:
        given = self._given() if callable(self._given) else self._given
        return {
            _lower_host(prefix.rstrip("/")): target.rstrip("/") or "/" for prefix, target in given.items()
        }

    def to(self, url: str) -> str:
        """Where ``url`` is read from: a URL, or the path of a file when a directory answers for it.

        Raises ``UsageError`` when ``url`` would lead out of that directory.
        """
        asked = _lower_host(url)
        prefix = max((known for known in self._prefixes if _begins(asked, known)), key=len, default=None)
        if prefix is None:
            return url
        target, rest = self._prefixes[prefix], asked[len(prefix) :]
        if is_url(target):
            return target + rest
        path = unquote(rest.partition("#")[0])
        if ".." in PurePosixPath(path).parts or "\0" in path:
            raise UsageError(f"{url} leads out of {target}, the directory that answers for it")
        return target.rstrip("/") + path

    def back(self, location: str) -> str:
        """The original URL of ``location`` (a URL, a ``file://`` URL or a path), or ``location`` itself.

        The longest matching target wins; of several prefixes with the same target, the one that the site
        names first.
        """
        best, found = -1, location
        for prefix, target in self._prefixes.items():
            for known, rest in _below(location, target):
                if len(known) > best:
                    best, found = len(known), prefix + rest
        return found


def _below(location: str, target: str) -> Iterator[tuple[str, str]]:
    """(``target``, URL-quoted rest) when ``location`` is ``target`` or lies below it."""
    if is_url(target):
        known, asked = _lower_host(target), _lower_host(location)
        if _begins(asked, known):
            yield known, asked[len(known) :]
        return
    path = unquote(location.removeprefix(FILE_SCHEME)) if location.startswith(FILE_SCHEME) else location
    known = target.rstrip("/")
    if not is_url(path) and _begins(path, known):
        yield known, quote(path[len(known) :], safe=UNQUOTED)


def _begins(location: str, prefix: str) -> bool:
    return location.startswith(prefix) and (location[len(prefix) :] or "/")[0] in "/?#"


def _lower_host(url: str) -> str:
    """``url`` with scheme and host in lower case, as they mean the same in any (RFC 3986, 6.2.2.1)."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}://{host.lower()}{slash}{path}"
