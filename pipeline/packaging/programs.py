"""The programs of an image: where they are, and what the ways in which they end mean."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping

SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

MEANINGS: Mapping[int, str] = {
    126: "126 means that the program was found but cannot be run: is it executable, and for this CPU?",
    127: "127 means that a program, or the interpreter named in its first line, does not exist in the image",
    128 + signal.SIGSEGV: "it crashed (SIGSEGV); programs of EL6 do so at once on a kernel without "
    "vsyscall=emulate",
    128 + signal.SIGKILL: "it was killed (SIGKILL), as by the kernel when memory runs out: see dmesg",
    128 + signal.SIGILL: "it met an instruction that this machine's processor does not have (SIGILL)",
}


def meaning(exit_code: int) -> str | None:
    """What an exit code says by convention, or None. A negative one is the signal that killed the program."""
    return MEANINGS.get(exit_code if exit_code >= 0 else 128 - exit_code)


def first_found(*names: str) -> str | None:
    """The path of the first of ``names`` that is there. Meant for the inside of a chroot."""
    return next((path for name in names if (path := shutil.which(name, path=SEARCHED))), None)


def why_not_runnable(program: str, cwd: str, search: str = SEARCHED) -> str | None:
    """Why ``program`` cannot be started in ``cwd``, or None. Meant for the inside of a chroot."""
    if not os.path.isdir(cwd):
        return f"its working directory {cwd} does not exist in the image{_deepest(cwd)}"
    if "/" not in program:
        if shutil.which(program, path=search) is None:
            return f"the image has no program {program!r} in {search}"
        return None
    path = os.path.normpath(os.path.join(cwd, program))
    if not os.path.exists(path):
        return f"{path} does not exist in the image{_deepest(path)}"
    if os.path.isdir(path):
        return f"{path} is a directory"
    if not os.access(path, os.X_OK):
        return f"{path} is not executable"
    return _missing_interpreter(path)


def _deepest(path: str) -> str:
    """What does exist on the way to ``path``, with what it holds, for an error."""
    there = path
    while not os.path.isdir(there):
        there = os.path.dirname(there.rstrip("/")) or "/"
    held = sorted(os.listdir(there))
    shown = ", ".join(held[:10]) + (f" and {len(held) - 10} more" if len(held) > 10 else "")
    return f"; {there} holds {shown or 'nothing'}"


def _missing_interpreter(path: str) -> str | None:
    with open(path, "rb") as script:
        first = script.read(256).split(b"\n", 1)[0]
    if not first.startswith(b"#!"):
        return None
    words = first[2:].split()
    interpreter = os.fsdecode(words[0]) if words else ""
    if interpreter and os.path.exists(interpreter):
        return None
    return f"{path} asks for the interpreter {interpreter!r}, which the image does not have"
