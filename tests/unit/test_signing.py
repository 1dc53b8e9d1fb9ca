"""Versions are signed with real keys, and only a good signature of one of the signers counts."""

from __future__ import annotations

import base64
import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.errors import MachineError, PipelineError, UnverifiedError, UsageError
from pipeline.recipe.model import Signing, Site
from pipeline.signing import keygen
from pipeline.signing.armor import of_nobody, parse
from pipeline.signing.making import accept, sign, to_be_signed
from pipeline.signing.signers import judged, lacking, principals, wrong_lines
from pipeline.store.records import Verification, Version
from pipeline.store.sealed import sealed
from pipeline.store.signatures import Signature, keep, signatures, statement
from pipeline.store.store import Store
from tests.signing_keys import detached, new_key, public
from tests.small_store import add_version, commit_layer

PASSED = Verification(
    passed=True, tests_digest="t", when=1.0, seconds=1.0, results=(("test_a", "passed", 0.1, ""),)
)
LABEL = "web@1"


class Office:
    """A site that asks for the signature of one of its signers, a version, and two people with a key."""

    def __init__(self, folder: Path, alice: Path, bob: Path) -> None:
        self.folder, self.alice, self.bob = folder, alice, bob
        self.signers = folder / "allowed_signers"
        self.site = Site(folder / "pipeline.toml", folder, folder / "store", folder / "images")
        self.asks()
        self.may("", alice)
        self.store = Store.open(folder / "store")
        commit_layer(self.store, "a" * 64, lambda upper: (upper / "file").write_text("x"))
        self.version = add_version(self.store, ["a" * 20])
        self.store.versions.set_verification(self.version, PASSED, {})

    def asks(self, required: int = 1, revoked: Path | None = None) -> None:
        self.site = replace(self.site, signing=Signing(self.signers, required, revoked))

    def may(self, options: str, *keys: Path) -> None:
        """These, and nobody else, may sign."""
        self.signers.write_text("".join(f"{key.name}@site {options} {public(key)}\n" for key in keys))

    def sign(self, *keys: Path) -> None:
        for key in keys:
            sign(self.store, self.version, key)

    @property
    def by(self) -> tuple[str, ...]:
        return principals(judged(self.site, self.store, self.version))

    @property
    def lacks(self) -> list[str]:
        return [each.message for each in lacking(self.site, self.store, self.version)]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("keys")
    return new_key(folder / "alice"), new_key(folder / "bob")


@pytest.fixture
def office(tmp_path: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Office(tmp_path, *keys)


def test_a_version_is_not_signed_until_one_of_the_signers_has(office: Office) -> None:
    (problem,) = lacking(office.site, office.store, office.version)
    assert problem.message == "web@1: it is not signed"
    assert problem.where == f"{office.store.path}/images/web/versions/1.signed"
    assert problem.command == "pipeline sign web@1 --key ~/.ssh/id_ed25519"
    office.sign(office.alice)
    assert (office.by, office.lacks) == (("alice@site",), [])


def test_a_site_that_names_no_signers_asks_for_nothing(office: Office) -> None:
    office.site = replace(office.site, signing=None)
    assert office.lacks == []
    office.sign(office.alice)
    (kept,) = judged(office.site, office.store, office.version)
    assert kept.principal is None and kept.problem is None and kept.key.startswith("SHA256:")


def test_two_different_signers_have_to_be_two(office: Office) -> None:
    office.asks(required=2)
    office.may("", office.alice, office.bob)
    office.sign(office.alice, office.alice)
    assert office.lacks == ["web@1: it is signed by alice@site only: 2 different signers are asked for"]
    office.sign(office.bob)
    assert (office.by, office.lacks) == (("alice@site", "bob@site"), [])


def test_two_keys_of_one_signer_are_one_signer(office: Office) -> None:
    office.asks(required=2)
    office.signers.write_text("".join(f"alice {public(key)}\n" for key in (office.alice, office.bob)))
    office.sign(office.alice, office.bob)
    assert office.by == ("alice",) and len(office.lacks) == 1


def test_the_same_again_is_no_change(office: Office) -> None:
    made = sign(office.store, office.version, office.alice)
    before = made.file.read_bytes(), made.file.stat().st_ino
    again = sign(office.store, office.version, office.alice)
    assert made.changed and not again.changed
    assert (made.file.read_bytes(), made.file.stat().st_ino) == before
    assert len(os.listdir(made.file.parent)) == 1


def test_what_was_signed_on_another_machine_counts_the_same(office: Office) -> None:
    text = to_be_signed(office.store, office.version)
    accept(office.store, office.version, detached(office.alice, text), "x.sig")
    assert office.by == ("alice@site",)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda key, text: "junk", "it is no signature of ssh"),
        (lambda key, text: "", "it is no signature of ssh"),
        (lambda key, text: detached(key, text).replace("U1NI", "U1N!", 1), "the signature is damaged"),
        (lambda key, text: detached(key, text).replace("U1NI", "V1NI", 1), "no signature of ssh that this"),
        (
            lambda key, text: detached(key, text, "git"),
            'expected the namespace "pipeline-version", got "git"',
        ),
        (lambda key, text: detached(key, text + "x"), "not a signature of web@1: it is of other content"),
        (lambda key, text: tampered(detached(key, text)), "not a signature of web@1: it is of other content"),
        (lambda key, text: of_nobody("pipeline-version"), "not a signature of web@1"),
    ],
)
def test_what_is_no_good_signature_of_the_version_is_not_kept(
    office: Office, made: Callable[[Path, str], str], said: str
) -> None:
    text = made(office.alice, to_be_signed(office.store, office.version))
    with pytest.raises(PipelineError) as caught:
        accept(office.store, office.version, text, "x.sig")
    assert said in str(caught.value) and caught.value.problems[0].where == "x.sig"
    assert signatures(office.store, office.version) == ()


def tampered(text: str) -> str:
    """The signature with its last byte changed."""
    lines = text.splitlines()
    blob = bytearray(base64.b64decode("".join(lines[1:-1])))
    blob[-1] ^= 1
    return "\n".join((lines[0], base64.b64encode(blob).decode(), lines[-1], ""))


def put(office: Office, text: str, *, of: str | None = None) -> None:
    """A signature that somebody has written into the store, and not this program."""
    now = of or statement(office.store, office.version)
    assert now is not None
    key = parse(text, "x").key
    keep(office.store, office.version, Signature(statement=now, signature=text, key=key, when=1.0))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda key, text: tampered(detached(key, text)), "it is not a signature of this statement"),
        (lambda key, text: detached(key, text, "git"), "it is not a signature of this statement"),
        (lambda key, text: detached(key, "other"), "it is not a signature of this statement"),
        (lambda key, text: of_nobody("pipeline-version"), "its key is of nobody in "),
    ],
)
def test_what_was_put_into_the_store_by_hand_counts_for_nothing(
    office: Office, made: Callable[[Path, str], str], why: str
) -> None:
    put(office, made(office.alice, to_be_signed(office.store, office.version)))
    lacks = office.lacks
    assert lacks[0] == "web@1: it is not signed: no signature that it has counts"
    assert len(lacks) == 2 and f"does not count: {why}" in lacks[1]


def test_a_key_that_is_of_nobody_does_not_count(office: Office) -> None:
    office.sign(office.bob)
    _, problem = lacking(office.site, office.store, office.version)
    assert problem.message.endswith(f"does not count: its key is of nobody in {office.signers}")
    assert str(office.signers) in str(problem.hint) and str(problem.where).endswith(".json")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ('valid-before="20200101"', "key has expired"),
        ('valid-after="29990101"', "key is not yet valid"),
        ('namespaces="git,file"', 'key is not permitted for use in signature namespace "pipeline-version"'),
    ],
)
def test_a_signer_who_may_not_now_or_not_this_does_not_count(office: Office, options: str, why: str) -> None:
    office.sign(office.alice)
    office.may('namespaces="pipeline-version,git",valid-after="20200101"', office.alice)
    assert office.lacks == []
    office.may(options, office.alice)
    assert f"does not count: {office.signers}:1: {why}" in office.lacks[1]


@pytest.mark.parametrize("name", ["signers", "revoked"])
def test_a_file_that_is_not_there_is_told_and_nothing_counts(office: Office, name: str) -> None:
    office.sign(office.alice)
    office.asks(revoked=office.folder / "revoked" if name == "revoked" else None)
    if name == "signers":
        office.signers.unlink()
    (problem,) = lacking(office.site, office.store, office.version)
    assert f'[signing]: "{name}" cannot be read: {office.folder}/' in problem.message
    assert (problem.where, problem.command) == (str(office.site.file), "pipeline doctor")
    office.signers.mkdir(exist_ok=True) if name == "signers" else None
    assert len(office.lacks) == 1


def test_lines_of_the_signers_that_are_none_are_told_with_their_numbers(office: Office) -> None:
    good = office.signers.read_text()
    office.signers.write_text(f"\n# people\nbob junk\n{good}carol nonsense {public(office.bob)}\n  \n")
    office.sign(office.alice)
    assert office.by == ("alice@site",)
    told = [(problem.where, problem.message) for problem in wrong_lines(office.site)]
    assert told == [
        (f"{office.signers}:3", "this line names no signer: missing key"),
        (f"{office.signers}:5", "this line names no signer: bad options: unknown key option"),
    ]
    office.signers.write_text(good)
    assert wrong_lines(office.site) == ()


def test_a_signature_of_what_was_something_else_does_not_count(office: Office) -> None:
    office.sign(office.alice)
    office.store.versions.set_verification(office.version, replace(PASSED, tests_digest="others"), {})
    assert "signature does not fit web@1 any more: it signs another tests" in office.lacks[1]
    assert sign(office.store, office.version, office.alice).changed
    assert office.lacks == []


def test_a_record_that_says_it_signs_what_is_there_now_is_not_believed(office: Office) -> None:
    old = to_be_signed(office.store, office.version)
    office.store.versions.set_verification(office.version, replace(PASSED, tests_digest="others"), {})
    put(office, detached(office.alice, old))
    assert "does not count: it is not a signature of this statement" in office.lacks[1]


def test_a_version_whose_lock_or_layers_are_others_by_now_is_not_as_it_was_signed(office: Office) -> None:
    office.sign(office.alice)
    (office.store.versions.directory(office.version) / "recipe.lock").write_text("other")
    (told,) = office.lacks
    assert "web@1 has lost its recipe.lock" in told


@pytest.mark.parametrize("how", ["other", "damaged", "gone"])
def test_a_version_whose_list_of_files_is_another_is_not_signed_and_not_as_it_was_signed(
    office: Office, how: str
) -> None:
    office.sign(office.alice)
    listed = office.store.layer_manifest("a" * 20)
    if how == "gone":
        listed.unlink()
    else:
        text = gzip.decompress(listed.read_bytes()).replace(b"file", b"evil")
        listed.write_bytes(gzip.compress(text) if how == "other" else text)
    (problem,) = lacking(office.site, office.store, office.version)
    assert problem.where == str(listed) and problem.command == "pipeline fsck"
    with pytest.raises(PipelineError):
        office.sign(office.bob)
    assert len(signatures(office.store, office.version)) == 1


def changed(version: Version) -> Version:
    return replace(version, kernel_parameters=("init=/bin/sh",))


def test_only_a_version_that_passed_and_is_whole_is_signed(office: Office) -> None:
    versions = office.store.versions
    record = versions.directory(office.version) / "version.json"
    record.write_bytes(sealed(changed(office.version)))
    with pytest.raises(PipelineError, match="identity: expected") as caught:
        to_be_signed(office.store, changed(office.version))
    assert not isinstance(caught.value, UnverifiedError)
    versions.set_verification(office.version, replace(PASSED, passed=False), {})
    with pytest.raises(UnverifiedError, match="web@1 is not signed: its tests failed") as both:
        sign(office.store, changed(office.version), office.alice)
    assert len(both.value.problems) == 2 and both.value.problems[0].command == "pipeline verify web@1"


def test_a_version_that_was_not_tested_is_not_signed(office: Office) -> None:
    made = add_version(office.store, ["a" * 20], parameters={"a": 1})
    with pytest.raises(UnverifiedError, match="web@2 is not signed: its tests have not been run"):
        sign(office.store, made, office.alice)


@pytest.mark.parametrize(
    ("name", "said", "code"),
    [
        ("none", "the key cannot be read: No such file", 2),
        ("junk", "it is no key of ssh", 2),
        ("folder", "the key cannot be read: Is a directory", 2),
        ("lonely.pub", "it is a public key, and no agent has the private one", 1),
        ("locked", "the key has a passphrase, and no agent has the key", 1),
        ("open", "others can read this private key", 1),
    ],
)
def test_a_key_that_cannot_sign_is_told_with_what_to_do(
    office: Office, name: str, said: str, code: int
) -> None:
    path = office.folder / name
    if name == "junk":
        path.write_text("junk")
        path.chmod(0o600)
    elif name == "folder":
        path.mkdir()
    elif name == "lonely.pub":
        shutil.copy(f"{office.alice}.pub", path)
    elif name in ("locked", "open"):
        new_key(path, "secret" if name == "locked" else "").chmod(0o644 if name == "open" else 0o600)
    with pytest.raises(PipelineError) as caught:
        office.sign(path)
    (problem,) = caught.value.problems
    assert said in problem.message and problem.where == str(path)
    assert caught.value.exit_code == code and (problem.command or name in ("none", "folder"))
    assert signatures(office.store, office.version) == ()


@pytest.fixture
def agent() -> Iterator[str]:
    """An agent of ssh, which ends with the test."""
    with tempfile.TemporaryDirectory() as folder:  # the path of a socket is short
        socket = f"{folder}/agent"
        with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            yield socket
            process.terminate()


def test_the_agent_signs_with_a_key_whose_private_half_is_not_here(
    office: Office, agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", agent)
    subprocess.run(["ssh-add", "-q", office.alice], check=True)
    shutil.copy(f"{office.alice}.pub", office.folder / "lonely.pub")
    office.sign(office.folder / "lonely.pub")
    assert office.by == ("alice@site",)


def test_a_machine_without_ssh_keygen_says_which_package_has_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.programs.shutil.which", lambda name, path=None: None)
    with pytest.raises(MachineError, match="'ssh-keygen' is missing"):
        office.sign(office.alice)


def test_an_ssh_keygen_that_is_too_old_is_told(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    program = office.folder / "bin/ssh-keygen"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'unknown option -- Y' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    (problem,) = wrong_lines(office.site)
    assert problem.message == "ssh-keygen cannot look for signers: unknown option -- Y"
    assert "8.2" in str(problem.hint)


def test_the_namespace_is_said_in_the_signature(office: Office) -> None:
    made = parse(detached(office.alice, "text"), "x")
    assert made.namespace == keygen.NAMESPACE
    listed = subprocess.run(
        ["ssh-keygen", "-l", "-f", f"{office.alice}.pub"], capture_output=True, text=True, check=True
    )
    assert made.key == listed.stdout.split()[1]
    with pytest.raises(UsageError):
        parse(made.text[: len(made.text) // 2], "x")
