"""Keys that are revoked count for nothing; a file of them that cannot be read is told, and revokes none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.signing.signers import lacking, wrong_lines
from tests.signing_keys import new_key, public
from tests.unit.test_signing import Office


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Office(tmp_path, new_key(tmp_path / "alice"), new_key(tmp_path / "bob"))


@pytest.mark.parametrize("of_krl", [True, False])
def test_a_key_that_is_revoked_does_not_count(office: Office, of_krl: bool) -> None:
    office.sign(office.alice)
    revoked = office.folder / "revoked"
    office.asks(revoked=revoked)
    for key, by in ((office.bob, ("alice@site",)), (office.alice, ())):
        if of_krl:
            subprocess.run(["ssh-keygen", "-q", "-k", "-f", revoked, f"{key}.pub"], check=True)
        else:
            revoked.write_text(f"{public(key)}\n")
        assert office.by == by
    assert f"its key, which was alice@site's, is revoked in {revoked}" in office.lacks[1]
    assert (
        lacking(office.site, office.store, office.version)[1].hint == "have another one of the signers sign"
    )
    assert wrong_lines(office.site) == ()


@pytest.mark.parametrize(
    ("content", "line"),
    [("# gone\n{bob}\ngarbage here\n{bob}\n", ":3"), ("garbage", ":1"), ("SSHKRL\n\0", "")],
)
def test_a_file_of_revoked_keys_that_cannot_be_read_is_told_and_is_no_revocation(
    office: Office, content: str, line: str
) -> None:
    office.sign(office.alice)
    revoked = office.folder / "revoked"
    revoked.write_text(content.format(bob=public(office.bob)))
    office.asks(revoked=revoked)
    for told in (lacking(office.site, office.store, office.version), wrong_lines(office.site)):
        (problem,) = told
        assert problem.where == f"{revoked}{line}" and problem.command == "pipeline doctor"
        what = (
            "this line is no revoked key: invalid format" if line else '[signing]: "revoked" cannot be read: '
        )
        assert problem.message.startswith(what)
        assert "public keys" in str(problem.hint)
    revoked.write_text(f"{public(office.alice)}\ngarbage\n")
    assert "is revoked in" in office.lacks[1]
    assert [problem.where for problem in wrong_lines(office.site)] == [f"{revoked}:2"]
