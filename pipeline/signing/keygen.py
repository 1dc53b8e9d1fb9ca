"""ssh-keygen, which makes signatures and checks them."""

from __future__ import annotations

import bisect
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

import msgspec

from pipeline.errors import PipelineError, Problem, UsageError
from pipeline.programs import Ended, ask, find
from pipeline.recipe.model import Signing
from pipeline.signing.armor import of_nobody

PROGRAM, PACKAGE = "ssh-keygen", "openssh-client, or openssh on EL"
NAMESPACE = "pipeline-version"
"""What signatures of versions are made for: one that was made for mail or git is none of a version."""

ASKS_NOBODY = {"SSH_ASKPASS_REQUIRE": "never"}
NOBODY = "No principal matched"
REVOKED = "Key is revoked"
OF_KEYGEN = b"SSHKRL"
"""With this begins what ssh-keygen -k makes of revoked keys; else they are public keys, one a line."""


class Found(msgspec.Struct, frozen=True):
    """Whose a signature is; None: nobody's, and ``why``. ``faults`` are what is wrong with lines of the
    signers: (line, what). ``is_revoked``: its key was one of theirs."""

    principal: str | None
    why: str = ""
    faults: tuple[tuple[int, str], ...] = ()
    is_revoked: bool = False


def require_program() -> None:
    """Raise ``MachineError`` when there is no ssh-keygen."""
    find(PROGRAM, PACKAGE)


def _ask(*words: str, stdin: str = "") -> Ended:
    require_program()
    return ask((PROGRAM, *words), stdin=stdin, env=ASKS_NOBODY)


@contextmanager
def _file(text: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pipeline-sign-") as folder:
        path = Path(folder) / "statement"
        path.write_text(text)
        yield path


def sign(key: Path, statement: str) -> str:
    """The signature of ``statement`` with ``key``: a private key, or the public one of a key that the agent
    has. Raises ``PipelineError``, or ``UsageError`` for what is no key."""
    try:
        with key.open("rb"):
            pass
    except OSError as error:
        raise UsageError(f"the key cannot be read: {error.strerror}", where=str(key)) from None
    with _file(statement) as path:
        ended = _ask("-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE, str(path))
        made = path.with_name(f"{path.name}.sig")
        if ended.exit_code != 0 or not made.exists():
            raise _not_signed(key, ended)
        return made.read_text()


def _not_signed(key: Path, ended: Ended) -> PipelineError:
    said, where, name = ended.err, str(key), quote(str(key))
    if "passphrase" in said:
        hint = "an agent has to have it: eval $(ssh-agent), then ssh-add; with sudo say sudo -E"
        return PipelineError(
            "the key has a passphrase, and no agent has the key",
            where=where,
            hint=hint,
            command=f"ssh-add {name}",
        )
    if "UNPROTECTED" in said:
        told = "others can read this private key, so ssh does not use it"
        return PipelineError(told, where=where, command=f"chmod 600 {name}")
    if "Couldn't load public key" in said or "invalid format" in said or "error in libcrypto" in said:
        hint = "a private key of ssh, or the .pub of one that the agent has; ssh-keygen -t ed25519 makes one"
        return UsageError("it is no key of ssh", where=where, hint=hint, command=f"ssh-keygen -l -f {name}")
    if "No private key found" in said or "No such file" in said:
        hint = "say the private key, or give it to the agent; with sudo say sudo -E"
        told = "it is a public key, and no agent has the private one"
        return PipelineError(told, where=where, hint=hint, command="ssh-add -l")
    return PipelineError(f"ssh-keygen did not sign: {said.strip() or ended.exit_code}", where=where)


def is_of(statement: str, signature: str) -> bool:
    """Whether ``signature`` is one of ``statement``, by whomever."""
    with _file(signature) as path:
        ended = _ask("-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(path), stdin=statement)
    return ended.exit_code == 0


def signer(signing: Signing, statement: str, signature: str) -> Found:
    """Who of the signers signed ``statement``. Raises ``PipelineError`` when it cannot be told whether that
    key is revoked."""
    signers, is_revoked = str(signing.signers), False
    with _file(signature) as path:
        ended = _ask("-Y", "find-principals", "-s", str(path), "-f", signers)
        faults, why = _said(signing.signers, ended.err)
        if ended.exit_code != 0:
            return Found(None, why or f"its key is of nobody in {signers}", faults)
        words = ("-Y", "verify", "-f", signers, "-n", NAMESPACE, "-s", str(path))
        for principal in ended.out.splitlines():
            if not principal or principal.startswith("!"):
                continue
            verified = _ask(*words, "-I", principal, stdin=statement)
            if verified.exit_code != 0:
                why = _said(signing.signers, verified.err)[1] or why
            elif signing.revoked is not None and _is_revoked(
                (*words, "-I", principal), signing.revoked, statement
            ):
                why, is_revoked = f"its key, which was {principal}'s, is revoked in {signing.revoked}", True
            else:
                return Found(principal, faults=faults)
    return Found(None, why or "it is not a signature of this statement", faults, is_revoked)


def require_revoked(revoked: Path) -> None:
    """Raise ``PipelineError`` when ssh-keygen cannot read the file of revoked keys: it takes no signature.

    It reads all of it when it looks for a key that is not there, such as a new one.
    """
    statement = "nobody\n"
    with tempfile.TemporaryDirectory(prefix="pipeline-sign-") as folder:
        key, signers = Path(folder) / "nobody", Path(folder) / "signers"
        _ask("-q", "-t", "ecdsa", "-N", "", "-C", "", "-f", str(key))
        with _file(sign(key, statement)) as path:
            signers.write_text(f"nobody {key.with_suffix('.pub').read_text()}")
            words = ("-Y", "verify", "-f", str(signers), "-n", NAMESPACE, "-s", str(path), "-I", "nobody")
            _is_revoked(words, revoked, statement)


def _is_revoked(words: tuple[str, ...], revoked: Path, statement: str) -> bool:
    """Whether the key of a good signature, which ``words`` check, is revoked."""
    said = _refused(words, revoked, statement)
    if said in ("", REVOKED):
        return bool(said)
    hint = "public keys, one a line, or what ssh-keygen -k makes; until it can be read no signature counts"
    if (line := _first_unread(words, revoked, statement)) is not None:
        what, where = f"this line is no revoked key: {said}", f"{revoked}:{line}"
    else:
        what, where = f'[signing]: "revoked" cannot be read: {said}', str(revoked)
    raise PipelineError([Problem(what, where, hint, "pipeline doctor")])


def _refused(words: tuple[str, ...], revoked: Path, statement: str) -> str:
    """What ssh-keygen has against a good signature with this file of revoked keys; only when it talks a lot
    does it tell a key that is there from a file that it cannot read."""
    ended = _ask(*words, "-vvv", "-r", str(revoked), stdin=statement)
    if ended.exit_code == 0:
        return ""
    said = re.findall(r"sshkey_check_revoked(?: failed)?: (.+)$", ended.err, re.MULTILINE)
    return str(said[-1]).strip() if said else (ended.out.strip() or f"exit code {ended.exit_code}")


def _first_unread(words: tuple[str, ...], revoked: Path, statement: str) -> int | None:
    """The number of the line at which ssh-keygen stops to read; None when it is no file of lines."""
    content = revoked.read_bytes()
    lines = content.splitlines(keepends=True)
    if content.startswith(OF_KEYGEN):
        return None
    with _file("") as path:

        def is_unread(count: int) -> bool:
            path.write_bytes(b"".join(lines[:count]))
            return _refused(words, path, statement) not in ("", REVOKED)

        number = bisect.bisect_left(range(1, len(lines) + 1), True, key=is_unread) + 1
    return number if number <= len(lines) else None


def faults(signing: Signing) -> tuple[tuple[int, str], ...]:
    """What is wrong with lines of the signers: (line, what).

    Raises ``PipelineError`` when ssh-keygen is too old for signatures, or cannot read the file.
    """
    with _file(of_nobody(NAMESPACE)) as path:
        ended = _ask("-Y", "find-principals", "-s", str(path), "-f", str(signing.signers))
    if NOBODY not in ended.err:
        first = ended.err.strip().partition("\n")[0]
        raise PipelineError(
            f"ssh-keygen cannot look for signers: {first}", hint="it takes OpenSSH 8.2 or later"
        )
    return _said(signing.signers, ended.err)[0]


def _said(signers: Path, text: str) -> tuple[tuple[tuple[int, str], ...], str]:
    """Lines of the signers that are wrong, and why a line that has the key is not taken."""
    lines = signers.read_text(errors="replace").splitlines()
    wrong: dict[tuple[int, str], None] = {}
    why = ""
    for number, what in re.findall(rf"^{re.escape(str(signers))}:(\d+): (.*)$", text, re.MULTILINE):
        line = lines[int(number) - 1].strip() if int(number) <= len(lines) else ""
        if what.startswith(("key has expired", "key is not yet valid", "key is not permitted")):
            why = f"{signers}:{number}: {what}"
        elif line and "Principal matched" not in what:  # it has something to say of empty lines as well
            wrong[(int(number), what)] = None
    return tuple(wrong), why
