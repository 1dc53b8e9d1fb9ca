"""How layers and versions are named: digests of plain data, equal on every machine. Pure arithmetic."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def digest_of(value: Any) -> str:
    """The sha256 (64 hex digits) of plain data: lists, mappings with text as keys, text, numbers, None."""
    return hashlib.sha256(_canonical(value)).hexdigest()


def identity(image: str, tree: str, kernel_parameters: tuple[str, ...], parameters: Mapping[str, Any]) -> str:
    """What makes two builds the same version.

    The same content, nodes that boot with the same words, and the same parameters: tests are run with those.
    """
    return digest_of([image, tree, kernel_parameters, sorted(parameters.items())])


def _canonical(value: Any) -> bytes:
    """JSON without white space. Not sorted: the order in which somebody wrote options may matter."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode()
