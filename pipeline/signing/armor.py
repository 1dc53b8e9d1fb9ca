"""Signatures as OpenSSH writes them (PROTOCOL.sshsig): which key made one, and for what. Plain arithmetic."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct

import msgspec

from pipeline.errors import UsageError

BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
MAGIC = b"SSHSIG"
VERSION = 1
LINE = 70

HINT = "a signature begins with " + BEGIN + ", as ssh-keygen -Y sign writes it into FILE.sig"


class Armored(msgspec.Struct, frozen=True):
    """A signature: ``key`` is the fingerprint of its key, ``namespace`` what it was made for."""

    text: str
    key: str
    namespace: str


def parse(text: str, where: str) -> Armored:
    """What the text of a signature says. Whether it is a good one only ssh-keygen can tell.

    Raises ``UsageError`` when it is none; ``where`` is where the text is from.
    """
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) < 3 or lines[0] != BEGIN or lines[-1] != END:
        raise UsageError("it is no signature of ssh", where=where, hint=HINT)
    try:
        blob = base64.b64decode("".join(lines[1:-1]), validate=True)
        (version,) = struct.unpack_from(">I", blob, len(MAGIC))
        key, rest = _string(blob[len(MAGIC) + 4 :])
        namespace, _ = _string(rest)
    except (binascii.Error, struct.error, ValueError):
        raise UsageError("the signature is damaged", where=where, hint=HINT) from None
    if not blob.startswith(MAGIC) or version != VERSION:
        raise UsageError("it is no signature of ssh that this program knows", where=where, hint=HINT)
    return Armored(
        "".join(f"{line}\n" for line in lines), fingerprint(key), namespace.decode(errors="replace")
    )


def fingerprint(key: bytes) -> str:
    """``SHA256:…`` of a public key, as ``ssh-keygen -l`` says it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def of_nobody(namespace: str) -> str:
    """A signature whose key nobody has: whoever looks for its signer reads every line of the signers."""
    kind = _packed(b"ssh-ed25519")
    parts = (kind + _packed(bytes(32)), namespace.encode(), b"", b"sha512", kind + _packed(bytes(64)))
    blob = MAGIC + struct.pack(">I", VERSION) + b"".join(map(_packed, parts))
    text = base64.b64encode(blob).decode()
    lines = [text[start : start + LINE] for start in range(0, len(text), LINE)]
    return "\n".join((BEGIN, *lines, END, ""))


def _packed(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _string(blob: bytes) -> tuple[bytes, bytes]:
    """The string at the beginning of ``blob``, and what follows it."""
    (length,) = struct.unpack_from(">I", blob)
    if len(blob) < 4 + length:
        raise ValueError(length)
    return blob[4 : 4 + length], blob[4 + length :]
