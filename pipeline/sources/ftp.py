"""Files over ftp, through the standard library."""

from __future__ import annotations

import ftplib
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket
from urllib.parse import unquote, urlsplit

from pipeline.sources.transfer import CHUNK, Answer, Ask, TransferError


@contextmanager
def answer(ask: Ask) -> Iterator[Answer | None]:
    """The server's answer, None when it has ``ask.unless`` still. Raises ``TransferError``."""
    url = urlsplit(ask.url)
    path, user, password = (unquote(part or "") for part in (url.path[1:], url.username, url.password))
    if set(path + user + password) & {"\r", "\n"}:
        raise TransferError("a line break in a URL is none that ftp can ask for", passing=False)
    try:
        with ftplib.FTP(timeout=ask.timeout) as ftp:
            ftp.connect(url.hostname or "", url.port or ftplib.FTP_PORT)
            ftp.login(user, password)
            ftp.voidcmd("TYPE I")
            yield _read(ftp, path, ask)
    except ftplib.error_perm as error:
        raise TransferError(f"the server answered {error}", passing=False) from None
    except ftplib.Error as error:
        raise TransferError(f"the server answered {error}", passing=True) from None
    except TimeoutError:
        raise TransferError("the server stalled", passing=True) from None
    except (OSError, EOFError) as error:
        raise TransferError(f"the connection broke: {error}", passing=True) from None


def _read(ftp: ftplib.FTP, path: str, ask: Ask) -> Answer | None:
    total, validator = _known(ftp, path)
    if validator is not None and validator == ask.unless and not ask.offset:
        return None
    offset = ask.offset if ask.validator in (None, validator) else 0
    if total is not None and offset > total:
        offset = 0
    if offset and total == offset:
        return Answer(ask.url, offset, total, validator, iter(()))
    try:
        data = ftp.transfercmd(f"RETR {path}", rest=offset or None)
    except ftplib.error_perm as error:
        if not offset or not str(error).startswith("50"):
            raise
        offset = 0  # 500 to 504: it does not know REST
        data = ftp.transfercmd(f"RETR {path}")
    return Answer(ask.url, offset, total, validator, _chunks(ftp, data))


def _known(ftp: ftplib.FTP, path: str) -> tuple[int | None, str | None]:
    """Size and a name for the content (size and time of change), where the server tells (RFC 3659)."""
    try:
        total = ftp.size(path)
        changed = ftp.sendcmd(f"MDTM {path}").removeprefix("213 ").strip()
    except ftplib.error_perm:
        return None, None
    return total, f"{total} {changed}"


def _chunks(ftp: ftplib.FTP, data: socket) -> Iterator[bytes]:
    with data:
        while chunk := data.recv(CHUNK):
            yield chunk
    ftp.voidresp()  # 226 when that was all of it, an error when the server broke off
