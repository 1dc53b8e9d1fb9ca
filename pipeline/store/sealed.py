"""Records that carry a digest of themselves, so that ``fsck`` can vouch for what nothing else says again.

Whoever reads a record passes over it. Records of old releases have none.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec

from pipeline.errors import Problem

_SEAL = re.compile(rb',"sha256":"([0-9a-f]{64})"\}\Z')


def sealed(record: msgspec.Struct) -> bytes:
    """``record`` as JSON; its last key, ``sha256``, is the digest of what it is without that."""
    content = msgspec.json.encode(record)
    return content[:-1] + f',"sha256":"{hashlib.sha256(content).hexdigest()}"}}'.encode()


def broken_seal(path: Path, hint: str) -> Problem | None:
    """That the record in the file ``path`` is not what was written; one that cannot be read is told
    elsewhere."""
    try:
        content = path.read_bytes()
        found = msgspec.json.decode(content)
    except (OSError, msgspec.MsgspecError):
        return None
    if not isinstance(found, dict) or "sha256" not in found:
        return None
    seal = _SEAL.search(content)
    got = hashlib.sha256(content[: seal.start()] + b"}").hexdigest() if seal else "another form"
    if found["sha256"] == got:
        return None
    return Problem(f"the record was changed: sha256: expected {found['sha256']}, got {got}", str(path), hint)
