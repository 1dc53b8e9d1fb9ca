"""Kernel modules of the lab: small ELF files that modinfo and depmod read as they read real ones.

They hold no code. What is in them is what tools look at: ``.modinfo`` and the symbol table, from which
depmod works out which module needs which (it does not look at ``depends=``). The format is that of the
ELF64 specification, and of libkmod's ``libkmod-elf.c`` for what it wants to find.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from zlib import crc32

import msgspec

_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATABLE, _X86_64, _VERSION = 1, 62, 1
_PROGBITS, _SYMTAB, _STRTAB = 1, 2, 3
_ALLOC = 2
_GLOBAL = 1 << 4
_UNDEFINED, _ABSOLUTE = 0, 0xFFF1


class Parameter(msgspec.Struct, frozen=True):
    """A module's parameter; ``kind`` is the kernel's name of its type (``int``, ``uint``, ``charp``)."""

    kind: str
    description: str


class _Section(msgspec.Struct, frozen=True):
    name: str
    kind: int
    content: bytes
    flags: int = 0
    link: int = 0
    info: int = 0
    entry_size: int = 0


def write_module(
    path: Path,
    name: str,
    vermagic: str,
    params: Mapping[str, Parameter] | None = None,
    depends: Sequence[str] = (),
    aliases: Sequence[str] = (),
    *,
    description: str = "",
    version: str = "",
) -> None:
    """Write the module ``name`` to ``path``, whose parent directories are made.

    ``vermagic`` is the kernel's (``2.6.32-431.el6.x86_64 SMP mod_unload modversions ``). Each module exports
    one symbol and needs that of every module in ``depends``, so that depmod finds the dependencies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    info = _modinfo(name, vermagic, params or {}, depends, aliases, description, version)
    path.write_bytes(_elf(info, name, depends))


def _modinfo(
    name: str,
    vermagic: str,
    params: Mapping[str, Parameter],
    depends: Sequence[str],
    aliases: Sequence[str],
    description: str,
    version: str,
) -> bytes:
    fields = [("license", "Dual BSD/GPL"), ("description", description or name)]
    if version:
        fields.append(("version", version))
    fields += [("alias", alias) for alias in aliases]
    for parameter, said in params.items():
        fields += [("parm", f"{parameter}:{said.description}"), ("parmtype", f"{parameter}:{said.kind}")]
    fields += [("depends", ",".join(depends)), ("vermagic", vermagic)]
    return b"".join(f"{key}={value}\0".encode() for key, value in fields)


def _symbol(module: str) -> str:
    return f"{module}_lab_exported"


def _symbols(name: str, depends: Sequence[str]) -> tuple[bytes, bytes]:
    """The symbol table and its strings: a CRC for what is exported, undefined symbols for what is needed."""
    exported = _symbol(name)
    entries = [(f"__crc_{exported}", _ABSOLUTE, crc32(exported.encode()))]
    entries += [(_symbol(module), _UNDEFINED, 0) for module in depends]
    strings = b"\0"
    table = _SYMBOL.pack(0, 0, 0, 0, 0, 0)
    for text, section, value in entries:
        table += _SYMBOL.pack(len(strings), _GLOBAL, 0, section, value, 0)
        strings += text.encode() + b"\0"
    return table, strings


def _elf(modinfo: bytes, name: str, depends: Sequence[str]) -> bytes:
    table, strings = _symbols(name, depends)
    sections = [
        _Section("", 0, b""),
        _Section(".modinfo", _PROGBITS, modinfo, flags=_ALLOC),
        _Section("__ksymtab_strings", _PROGBITS, _symbol(name).encode() + b"\0", flags=_ALLOC),
        _Section(".symtab", _SYMTAB, table, link=4, info=1, entry_size=_SYMBOL.size),
        _Section(".strtab", _STRTAB, strings),
    ]
    names = b"".join(section.name.encode() + b"\0" for section in sections) + b".shstrtab\0"
    sections.append(_Section(".shstrtab", _STRTAB, names))

    body = b""
    headers = b""
    for section in sections:
        body += b"\0" * (-len(body) % 8)
        headers += _SECTION_HEADER.pack(
            names.index(section.name.encode() + b"\0") if section.name else 0,
            section.kind,
            section.flags,
            0,
            _ELF_HEADER.size + len(body) if section.kind else 0,
            len(section.content),
            section.link,
            section.info,
            8 if section.kind else 0,
            section.entry_size,
        )
        body += section.content
    body += b"\0" * (-len(body) % 8)
    header = _ELF_HEADER.pack(
        b"\x7fELF\x02\x01\x01" + bytes(9),
        _RELOCATABLE,
        _X86_64,
        _VERSION,
        0,
        0,
        _ELF_HEADER.size + len(body),
        0,
        _ELF_HEADER.size,
        0,
        0,
        _SECTION_HEADER.size,
        len(sections),
        len(sections) - 1,
    )
    return header + body + headers
