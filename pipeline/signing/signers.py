"""Whether a version is signed as its site asks, and if not, why."""

from __future__ import annotations

import msgspec

from pipeline.errors import PipelineError, Problem
from pipeline.recipe.model import Signing, Site
from pipeline.signing import keygen
from pipeline.store.content import changed, torn
from pipeline.store.records import Version
from pipeline.store.signatures import Kept, signatures, signed_directory, statement, unfit
from pipeline.store.store import Store
from pipeline.store.version_lock import damage

FORM = 'a line for each is: NAME namespaces="pipeline-version" ssh-ed25519 AAAA… (ssh-keygen(1))'


class Signed(msgspec.Struct, frozen=True):
    """A signature that is kept, as its site takes it. ``principal`` is the signer; None: it does not count,
    and ``problem`` says why. ``key`` is the key's fingerprint ("": unknown), ``when`` it was kept."""

    file: str
    key: str
    when: float
    principal: str | None
    problem: Problem | None = None


def judged(site: Site, store: Store, version: Version) -> tuple[Signed, ...]:
    """All signatures of ``version``. A site that names no signers knows nobody: it only tells what does not
    fit. Raises ``PipelineError`` when the signers, or the keys that are revoked, cannot be read."""
    now = statement(store, version)
    kept = signatures(store, version)
    if kept and site.signing is not None:
        require_files(site, site.signing)
    return tuple(_judged(site.signing, version, each, now) for each in kept)


def _judged(signing: Signing | None, version: Version, kept: Kept, now: str | None) -> Signed:
    signature, file = kept.signature, str(kept.path)
    if signature is None:
        return Signed(file, "", 0.0, None, kept.damage)
    problem: Problem | None = None
    principal = None
    if signature.statement != now:
        problem = unfit(version, kept, now)
    elif signing is not None:
        found = keygen.signer(signing, now, signature.signature)
        principal = found.principal
        if principal is None:
            told = f"the signature with the key {signature.key} does not count: {found.why}"
            hint = "have another one of the signers sign"
            if not found.is_revoked:
                hint = f"add whoever it is to {signing.signers}, or {hint}"
            problem = Problem(told, file, hint, how_to_sign(version))
    return Signed(file, signature.key, signature.when, principal, problem)


def how_to_sign(version: Version) -> str:
    """The command that signs it."""
    return f"pipeline sign {version.label} --key ~/.ssh/id_ed25519"


def principals(found: tuple[Signed, ...]) -> tuple[str, ...]:
    """Who signed, each once, sorted."""
    return tuple(sorted({each.principal for each in found if each.principal is not None}))


def lacking(site: Site, store: Store, version: Version) -> tuple[Problem, ...]:
    """Why ``version`` is not signed as its site asks, all of it; nothing when it is, or nobody asks."""
    signing = site.signing
    if signing is None:
        return ()
    try:
        found = judged(site, store, version)
        require_files(site, signing)
    except PipelineError as error:
        return tuple(error.problems)
    by = principals(found)
    lost = (*filter(None, (changed(store, version), damage(store, version))), *torn(store, version))
    if len(by) >= signing.required:
        return lost
    return (*lost, _too_few(signing, store, version, found), *filter(None, (each.problem for each in found)))


def _too_few(signing: Signing, store: Store, version: Version, found: tuple[Signed, ...]) -> Problem:
    by = principals(found)
    if by:
        told = f"it is signed by {', '.join(by)} only: {signing.required} different signers are asked for"
    elif found:
        told = "it is not signed: no signature that it has counts"
    else:
        told = "it is not signed"
    command, hint = how_to_sign(version), f"{signing.signers} names who may sign it"
    if statement(store, version) is None:
        command, hint = f"pipeline verify {version.label}", f"it can be when it has passed its tests; {hint}"
    return Problem(f"{version.label}: {told}", str(signed_directory(store, version)), hint, command)


def require_files(site: Site, signing: Signing) -> None:
    """Raise ``PipelineError`` when a file that [signing] names cannot be read."""
    problems = []
    for key, path in (("signers", signing.signers), ("revoked", signing.revoked)):
        try:
            if path is not None:
                path.read_bytes()
        except OSError as error:
            hint = FORM if key == "signers" else f'or take "{key}" out of {site.file}'
            told = f'[signing]: "{key}" cannot be read: {path}: {error.strerror}'
            problems.append(Problem(told, str(site.file), hint, "pipeline doctor"))
    if problems:
        raise PipelineError(problems)


def wrong_lines(site: Site) -> tuple[Problem, ...]:
    """What stands against finding out who signed: a missing program or file, lines that name no signer or no
    revoked key."""
    signing = site.signing
    if signing is None:
        return ()
    problems: list[Problem] = []
    for check in (keygen.require_program, lambda: require_files(site, signing)):
        try:
            check()
        except PipelineError as error:
            problems += error.problems
    if problems:
        return tuple(problems)
    try:
        faults = keygen.faults(signing)
    except PipelineError as error:
        return tuple(error.problems)
    return (
        *(
            Problem(f"this line names no signer: {what}", f"{signing.signers}:{line}", FORM, "man ssh-keygen")
            for line, what in faults
        ),
        *_unread(signing),
    )


def _unread(signing: Signing) -> tuple[Problem, ...]:
    try:
        if signing.revoked is not None:
            keygen.require_revoked(signing.revoked)
    except PipelineError as error:
        return tuple(error.problems)
    return ()
