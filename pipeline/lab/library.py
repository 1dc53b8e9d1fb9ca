"""Shared libraries of the lab: the smallest ELF files that ldconfig caches and the dynamic linker loads.

They hold no code and export nothing. The layout is that of the System V ABI: one loadable segment that is
the whole file, and a dynamic section with the soname, an empty symbol table and an empty hash table.
"""

from __future__ import annotations

import struct
from pathlib import Path

_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<QQ")
_SHARED_OBJECT, _X86_64, _VERSION = 3, 62, 1
_LOAD, _DYNAMIC_SEGMENT = 1, 2
_READ_WRITE = 6
_PAGE = 0x1000
_NULL, _HASH, _STRTAB, _SYMTAB, _STRSZ, _SYMENT, _SONAME = 0, 4, 5, 6, 10, 11, 14
_SYMBOL_SIZE = 24
_ENTRIES = 7


def write_library(path: Path, soname: str) -> None:
    """Write a library that calls itself ``soname`` to ``path``, whose parent directories are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_shared_object(soname))
    path.chmod(0o755)


def _shared_object(soname: str) -> bytes:
    dynamic_at = _ELF_HEADER.size + 2 * _PROGRAM_HEADER.size
    symbols_at = dynamic_at + _ENTRIES * _DYNAMIC.size
    hash_at = symbols_at + _SYMBOL_SIZE
    table = struct.pack("<5I", 1, 1, 0, 0, 0)
    strings_at = hash_at + len(table)
    strings = b"\0" + soname.encode() + b"\0"
    dynamic = b"".join(
        _DYNAMIC.pack(tag, value)
        for tag, value in (
            (_SONAME, 1),
            (_HASH, hash_at),
            (_STRTAB, strings_at),
            (_SYMTAB, symbols_at),
            (_STRSZ, len(strings)),
            (_SYMENT, _SYMBOL_SIZE),
            (_NULL, 0),
        )
    )
    size = strings_at + len(strings)
    header = _ELF_HEADER.pack(
        b"\x7fELF\x02\x01\x01" + bytes(9),
        _SHARED_OBJECT,
        _X86_64,
        _VERSION,
        0,
        _ELF_HEADER.size,
        0,
        0,
        _ELF_HEADER.size,
        _PROGRAM_HEADER.size,
        2,
        0,
        0,
        0,
    )
    whole = _PROGRAM_HEADER.pack(_LOAD, _READ_WRITE, 0, 0, 0, size, size, _PAGE)
    section = _PROGRAM_HEADER.pack(
        _DYNAMIC_SEGMENT, _READ_WRITE, dynamic_at, dynamic_at, dynamic_at, len(dynamic), len(dynamic), 8
    )
    return header + whole + section + dynamic + bytes(_SYMBOL_SIZE) + table + strings
