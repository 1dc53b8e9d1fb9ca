"""The outermost tables of a file: that they are known, there, and written as tables."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, get_args, get_origin

import msgspec

from pipeline.nearest import nearest
from pipeline.recipe.documents import Document
from pipeline.recipe.findings import Findings
from pipeline.recipe.kinds import described, there_are

STAGES = "stage"


def tables_of(document: Document, struct: type[msgspec.Struct], findings: Findings) -> dict[str, Any]:
    """The tables of ``document`` that ``struct`` has fields for and that are tables; the rest is told.

    Fields that are lists are lists of tables, such as ``stage``. What is in the tables is not looked at.
    """
    known = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    lists = _lists(struct)
    good: dict[str, Any] = {}
    for key, value in document.data.items():
        message = None
        if key not in known:
            word = "table" if isinstance(value, dict | list) else "key"
            message = f'unknown {word} "{key}"{nearest(key, known) or there_are(known)}'
        elif key in lists:
            if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
                several = "stages" if key == STAGES else f'all of "{key}"'
                message = f"{several} are tables that are written [[{key}]], got {described(value)}"
        elif not isinstance(value, dict):
            message = f"[{key}] is a table, got {described(value)}"
        if message:
            findings.add(document.file, (key,), message)
        else:
            good[key] = value
    for key, field in known.items():
        if field.required and key not in document.data:
            findings.add(document.file, None, f"the table [{key}] is missing")
    return good


@lru_cache(maxsize=16)
def _lists(struct: type[msgspec.Struct]) -> frozenset[str]:
    """The fields that are lists."""
    types = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
    return frozenset(
        name
        for name, form in types.items()
        if get_origin(get_args(form)[0] if get_origin(form) is Annotated else form) is list
    )
