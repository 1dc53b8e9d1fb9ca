"""From a build to a signature that counts, and to one that does not any more, by the commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.small_project import SmallProject, make_small_project
from tests.signing_keys import detached, new_key, public

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="building takes root")

TEST = "def test_a():\n    pass\n"


@pytest.fixture
def project(tmp_path: Path) -> SmallProject:
    project = make_small_project(tmp_path / "project", mode="copy")
    project.write("recipes/web/test_image.py", TEST)
    site = project.path / "pipeline.toml"
    site.write_text(site.read_text() + '[signing]\nsigners = "allowed_signers"\nrequired = 2\n')
    for name in ("alice", "bob"):
        new_key(tmp_path / name)
    signers = [f"{name}@site {public(tmp_path / name)}\n" for name in ("alice", "bob")]
    project.write("allowed_signers", "".join(signers))
    built = project.run("build")
    assert built.exit_code == 0, built.err
    return project


def test_a_version_is_signed_here_and_elsewhere_and_again_when_its_tests_are_others(
    project: SmallProject, tmp_path: Path
) -> None:
    shown = project.run("show", "web").out
    assert "signed             not as the site asks (0 of 2)\n" in shown
    first = project.run("sign", "web", "--key", str(tmp_path / "alice"))
    assert first.exit_code == 0 and "web@1: signed by alice@site, SHA256:" in first.out
    assert "warning" in first.err and "signed by alice@site only: 2 different" in first.err
    statement = project.run("sign", "web@1", "--statement")
    assert statement.out.startswith("pipeline-version 1\nimage web\nnumber 1\n")
    made = project.write("statement.sig", detached(tmp_path / "bob", statement.out))
    second = project.run("sign", "web@1", "--signature", str(made), "--json")
    assert (second.exit_code, second.err) == (0, "")
    assert (second.json()["principal"], second.json()["changed"]) == ("bob@site", True)
    again = project.run("sign", "web@1", "--signature", str(made))
    assert "web@1: it was signed before by bob@site" in again.out

    assert project.run("build").exit_code == 0
    shown = project.run("show", "web")
    assert "alice@site, 20" in shown.out and "bob@site, 20" in shown.out and "SIGNATURE" not in shown.out
    told = project.run("show", "web", "--json").json()["signatures"]
    assert {each["principal"] for each in told} == {"alice@site", "bob@site"}
    assert project.run("fsck").exit_code == 0

    project.write("recipes/web/test_image.py", TEST + "def test_b():\n    pass\n")
    assert project.run("verify", "web").exit_code == 0
    shown = project.run("show", "web").out
    assert "not as the site asks (0 of 2)" in shown
    assert shown.count("SIGNATURE: ") == 2 and "it signs another tests" in shown
    checked = project.run("fsck")
    assert checked.exit_code == 1
    assert checked.out.count("does not fit web@1 any more") == 2
    assert "pipeline sign web@1 --statement" in checked.out
    stale = project.run("sign", "web", "--signature", str(made))
    assert stale.exit_code == 1 and "of other content" in stale.err
    for name in ("alice", "bob"):
        assert project.run("sign", "web", "--key", str(tmp_path / name)).exit_code == 0
    assert project.run("fsck").exit_code == 0


def test_a_version_by_another_lock_is_another_and_has_no_signature(
    project: SmallProject, tmp_path: Path
) -> None:
    assert project.run("sign", "web", "--key", str(tmp_path / "alice")).exit_code == 0
    project.write("overlays/two/etc/two.conf", "a = 2\n")
    assert project.run("build").exit_code == 0
    assert "(0 of 2)" in project.run("show", "web@2").out
    signed, other = (project.store.path / f"images/web/versions/{number}.signed" for number in (1, 2))
    signed.rename(other)
    shown = project.run("show", "web@2").out
    assert "(0 of 2)" in shown and "it signs another number, identity, tree" in shown


def test_what_cannot_be_signed_is_told_and_the_exit_code_says_which(
    project: SmallProject, tmp_path: Path
) -> None:
    failing = project.write("recipes/web/test_image.py", "def test_a():\n    assert 0\n")
    assert project.run("verify", "web").exit_code == 5
    refused = project.run("sign", "web", "--key", str(tmp_path / "alice"))
    assert refused.exit_code == 5 and "web@1 is not signed: its tests failed" in refused.err
    assert project.run("sign", "web", "--statement").exit_code == 5
    failing.write_text(TEST)
    assert project.run("verify", "web").exit_code == 0
    assert project.run("sign", "web", "--key", str(project.path)).exit_code == 2
    assert project.run("sign", "web", "--signature", "none.sig").exit_code == 2
    assert project.run("sign", "web").exit_code == 2
    (project.path / "allowed_signers").unlink()
    signed = project.run("sign", "web", "--key", str(tmp_path / "alice"))
    assert signed.exit_code == 0 and '"signers" cannot be read' in signed.err
    shown = project.run("show", "web")
    assert shown.exit_code == 0 and "SIGNATURE: " in shown.out and "(0 of 2)" in shown.out
