"""Files over http and https, through requests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from pipeline.sources.transfer import CHUNK, Answer, Ask, TransferError

if TYPE_CHECKING:
    import requests

PASSING = frozenset({408, 425, 429})
"""Besides 5xx: statuses of a server that may answer otherwise later."""

WAY_IN = (
    "if it asks for a password, name one that answers for it under [mirrors] in the site file "
    "(https://user:password@…), or a directory with the file; what a .repo file says of passwords, "
    "certificates and proxies serves the image's yum or dnf only"
)

SETTLED_SECONDS = 60
"""A file changed more recently could have changed again within the second that Last-Modified counts."""


@contextmanager
def answer(ask: Ask) -> Iterator[Answer | None]:
    """The server's answer, None when it has ``ask.unless`` still. Raises ``TransferError``."""
    import requests  # 0.2 s: only where something is really downloaded

    from pipeline.sources import proxies

    way = proxies.Way()
    try:
        with proxies.session(way) as session, _get(session, ask) as response:
            yield _read(ask, response)
    except (requests.exceptions.SSLError, requests.TooManyRedirects) as error:
        raise TransferError(_reason(error) + way.told(), passing=False) from None
    except (requests.ConnectionError, requests.Timeout) as error:
        raise TransferError(_reason(error) + way.told(), passing=True) from None
    except requests.RequestException as error:
        raise TransferError(_reason(error) + way.told(), passing=False) from None
    except TransferError as error:
        raise TransferError(
            f"{error}{way.told()}", passing=error.passing, spoilt=error.spoilt, hint=error.hint
        ) from None


def _get(session: requests.Session, ask: Ask) -> requests.Response:
    import requests

    try:
        return session.get(ask.url, headers=_headers(ask), stream=True, timeout=ask.timeout)
    except requests.RequestException:
        raise
    except ValueError:  # requests follows a redirect to whatever is written there
        raise TransferError("the server led to an address that is none", passing=False) from None


def _headers(ask: Ask) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity"}
    if ask.offset:
        headers["Range"] = f"bytes={ask.offset}-"
        if ask.validator:
            headers["If-Range"] = ask.validator
    elif ask.unless:
        is_tag = ask.unless.startswith('"')
        headers["If-None-Match" if is_tag else "If-Modified-Since"] = ask.unless
    return headers


def _read(ask: Ask, response: requests.Response) -> Answer | None:
    status = response.status_code
    if status == 304 and ask.unless and not ask.offset:
        return None
    if status == 416 and ask.offset and _content_range(response) == (None, ask.offset):
        return Answer(response.url, ask.offset, ask.offset, ask.validator, iter(()))
    if status == 416 and ask.offset:
        raise TransferError(f"the server has no byte {ask.offset} to go on from", passing=True, spoilt=True)
    if status not in (200, 206):
        raise TransferError(
            f"the server answered {status} {response.reason}",
            passing=status in PASSING or status >= 500,
            hint=WAY_IN if status in (401, 403) else None,
        )
    offset, total = 0, _length(response)
    if status == 206:
        first, total = _content_range(response)
        if first != ask.offset:
            raise TransferError(
                "the server sent another part of the file than was asked for", passing=True, spoilt=True
            )
        offset = ask.offset
    return Answer(response.url, offset, total, _validator(response.headers), _chunks(response))


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """The body as it was sent: a .tar.gz stays one, even where the server calls gzip a content encoding.

    ``read1``: what has come is kept, even where the connection breaks before a chunk is full.
    """
    import urllib3

    try:
        while chunk := response.raw.read1(CHUNK, decode_content=False):
            yield chunk
    except urllib3.exceptions.ReadTimeoutError:
        raise TransferError("the server stalled", passing=True) from None
    except urllib3.exceptions.ProtocolError as error:
        cause = error.args[-1]
        missing = getattr(cause, "expected", None)  # only IncompleteRead knows
        told = f"ended, {missing:,} bytes are missing" if missing else f"broke: {_in_words(cause)}"
        raise TransferError(f"the connection {told}", passing=True) from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise TransferError(f"the connection broke: {_in_words(error)}", passing=True) from None


def _length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and whole size of a ``Content-Range`` (RFC 9110, 14.4); None where it does not say."""
    found = re.fullmatch(
        r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "").strip()
    )
    if found is None:
        return None, None
    first, total = found.groups()
    return int(first) if first else None, int(total) if total != "*" else None


def _validator(headers: Mapping[str, str]) -> str | None:
    """A strong entity tag, or a date of change that is old enough to tell (RFC 9110, 8.8)."""
    tag, changed = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if tag.startswith('"'):
        return tag
    try:
        age = parsedate_to_datetime(headers.get("Date", "")) - parsedate_to_datetime(changed)
    except (ValueError, TypeError):
        return None
    return changed if age.total_seconds() >= SETTLED_SECONDS else None


def _reason(error: Exception) -> str:
    """The last cause in plain words; requests and urllib3 wrap it in the names of their objects."""
    import requests

    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "the server could not be reached in time"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.InvalidSchema):
        address = re.search(r"'(.*)'", str(error))
        return f"the server led to {address[1] if address else 'an address'}, which is neither http nor https"
    if isinstance(error, requests.exceptions.InvalidURL):
        return "the server led to an address that is none"
    inner: BaseException = error
    while (cause := _cause(inner)) is not None:
        inner = cause
    return _in_words(inner)


def _cause(error: BaseException) -> BaseException | None:
    """What ``error`` was raised for; urllib3 has it behind a text of its own, too."""
    candidates = (getattr(error, "reason", None), *reversed(error.args))
    return next((each for each in candidates if isinstance(each, BaseException)), None)


def _in_words(error: object) -> str:
    import http.client

    if isinstance(error, http.client.RemoteDisconnected):
        return "the server closed the connection without an answer"
    if isinstance(error, http.client.HTTPException):
        return "the server answered something that is no HTTP"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    text = re.sub(r"^.*?(?:<[^>]*>|\w*Connection\([^)]*\)): ", "", str(error))
    return re.sub(r"\[Errno -?\d+\] ", "", text) or type(error).__name__
