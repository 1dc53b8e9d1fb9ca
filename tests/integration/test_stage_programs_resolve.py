from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from stage_programs_rpms import NEEDED, REPOSITORY, Workshop, after, put_program, run

from pipeline.chroot.enter import EnteredRoot
from pipeline.chroot.root import INPUTS
from pipeline.errors import PipelineError, UnreadableError
from pipeline.lab.mirror import Mirror
from pipeline.packaging import rpmdb
from pipeline.packaging.resolve import Resolution, ResolvedPackage, resolve
from pipeline.stages.base import Inputs, PackageRequest
from pipeline.stages.repository import Repository

pytestmark = NEEDED


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@contextmanager
def resolving_root(
    workshop: Workshop, out: Path, *, gpgcheck: bool = False
) -> Iterator[tuple[EnteredRoot, dict[str, str]]]:
    with Mirror(workshop.folder / "mirror") as mirror, workshop.root(out=out) as root:
        Repository(name="r", id="tests", baseurl=REPOSITORY, gpgcheck=gpgcheck).run(root, Inputs())
        yield root, {"http://packages.invalid/": mirror.map("http://packages.invalid/")}


def resolved(
    workshop: Workshop, out: Path, files: Sequence[str] = (), **asked: tuple[str, ...]
) -> Resolution:
    with resolving_root(workshop, out) as (root, mirrors):
        given = {url: f"{INPUTS}/{url.rsplit('/', 1)[-1].removesuffix('.noarch.rpm')}" for url in files}
        return resolve(root, PackageRequest(**asked), files=given, mirrors=mirrors)


def test_a_request_is_resolved_to_exact_packages_files_and_repositories(
    workshop: Workshop, tmp_path: Path
) -> None:
    found = resolved(workshop, tmp_path, install=("gamma",), remove=("leaf", "qlgc-ofed"))
    assert [package.nevra for package in found.install] == ["alpha-1:2.0-1.noarch", "gamma-1.0-1.noarch"]
    assert found.remove == ("alpha-1.0-1.noarch", "leaf-1.0-1.noarch")
    for package in found.install:
        assert package.base_urls in ((REPOSITORY,), (REPOSITORY + "/",))
        assert package.file is not None
        assert (tmp_path / package.file).is_file()


def test_what_is_no_rpm_is_named_as_it_was_asked_for(workshop: Workshop, tmp_path: Path) -> None:
    asked = ("files/text.rpm", "http://elsewhere.invalid/page.rpm")
    with resolving_root(workshop, tmp_path) as (root, mirrors), pytest.raises(PipelineError) as caught:
        resolve(
            root, PackageRequest(install=asked), files=dict.fromkeys(asked, "/etc/passwd"), mirrors=mirrors
        )
    assert [str(problem) for problem in caught.value.problems] == [f"{name}: is no RPM" for name in asked]


@pytest.mark.parametrize(("lacking", "words"), [(600, "hdr blob"), (8, "DIGESTS NOT OK"), (5000, "")])
def test_an_rpm_that_came_half_is_told_by_its_url(
    workshop: Workshop, tmp_path: Path, lacking: int, words: str
) -> None:
    """Within the header, with a whole header, and hardly begun."""
    half, whole, url = tmp_path / "half", workshop.files["gamma-1.0-1"], "http://elsewhere.invalid/g.rpm"
    half.write_bytes(whole.read_bytes()[:-lacking])
    other = "http://elsewhere.invalid/alpha.rpm"
    files = {url: f"{INPUTS}/half", other: f"{INPUTS}/alpha-2.0-1"}
    workshop.files["half"] = half
    try:
        with resolving_root(workshop, tmp_path) as (root, mirrors), pytest.raises(UnreadableError) as caught:
            resolve(root, PackageRequest(install=(url, other)), files=files, mirrors=mirrors)
    finally:
        del workshop.files["half"]
    *_, problem = caught.value.problems
    assert problem.where == url and problem.message.startswith("is damaged, or not all of it is there")
    assert words in problem.message and "/run/" not in problem.message


def test_the_answer_of_the_package_manager_can_be_carried_out(workshop: Workshop, tmp_path: Path) -> None:
    found = resolved(workshop, tmp_path, install=("gamma",), upgrade=("kernel",), remove=("leaf",))
    names = [package.nevra.replace("1:", "").removesuffix(".noarch") for package in found.install]
    removed = [name.removesuffix(".noarch") for name in found.remove]
    assert run(workshop, workshop.answer(names, removed)) == after(
        "+gamma-1.0-1", "+alpha-2.0-1", "-alpha-1.0-1", "-leaf-1.0-1", "+kernel-2-1", "+kernel-firmware-2-1"
    )


def test_a_file_given_by_url_keeps_its_url(workshop: Workshop, tmp_path: Path) -> None:
    url = "http://elsewhere.invalid/alpha-2.0-1.noarch.rpm"
    found = resolved(workshop, tmp_path, [url], install=(url,))
    assert found.install == (ResolvedPackage("alpha-1:2.0-1.noarch", location=url),)


def test_an_older_file_takes_the_package_back(workshop: Workshop, tmp_path: Path) -> None:
    path = "rpms/alpha-1.0-1.noarch.rpm"
    with resolving_root(workshop, tmp_path) as (root, mirrors):
        resolve(root, PackageRequest(upgrade=("alpha",)), mirrors=mirrors)
        files = {path: f"{INPUTS}/alpha-1.0-1"}
        found = resolve(root, PackageRequest(install=(path,)), files=files)
    assert found == Resolution(
        (ResolvedPackage("alpha-1.0-1.noarch", location=path),), ("alpha-1:2.0-1.noarch",)
    )


def test_what_is_installed_and_current_comes_to_nothing(workshop: Workshop, tmp_path: Path) -> None:
    assert resolved(workshop, tmp_path, install=("leaf",), upgrade=("leaf",)) == Resolution()


def test_something_provided_may_be_asked_for(workshop: Workshop, tmp_path: Path) -> None:
    found = resolved(workshop, tmp_path, install=("words(beta)",))
    assert [package.nevra for package in found.install] == ["beta-next-1.0-1.noarch"]
    assert found.remove == ("beta-1.0-1.noarch",)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"install": ("nosuch", "gamma")}, "nosuch"),
        ({"install": ("needy",)}, "what-nobody-has"),
        ({"install": ("against-alpha", "beta")}, "conflict"),
        ({"install": ("gamma-9.9",)}, r"gamma-9\.9"),
        ({"upgrade": ("gamma",)}, "gamma is not installed in the image"),
    ],
)
def test_what_cannot_be_had_is_told_in_the_words_of_the_package_manager(
    workshop: Workshop, tmp_path: Path, asked: dict[str, tuple[str, ...]], words: str
) -> None:
    with pytest.raises(PipelineError, match=words):
        resolved(workshop, tmp_path, **asked)


def test_packages_without_signature_are_refused_where_the_repository_checks_them(
    workshop: Workshop, tmp_path: Path
) -> None:
    with resolving_root(workshop, tmp_path, gpgcheck=True) as (root, mirrors):
        with pytest.raises(PipelineError, match=r"not signed|GPG|Public key") as refused:
            resolve(root, PackageRequest(install=("gamma",)), mirrors=mirrors)
        hint = refused.value.problems[0].hint or ""
        assert "say gpgcheck = false there, which the build then notes" in hint and "import_key" in hint
        assert "gamma-1.0-1.noarch" not in rpmdb.installed(root)


@pytest.mark.skipif(not all(map(shutil.which, ("gpg", "rpmsign"))), reason="gpg and rpmsign are needed")
def test_packages_are_taken_when_signed_by_a_key_that_a_stage_imported(
    workshop: Workshop, tmp_path: Path
) -> None:
    home, repository, out = tmp_path / "gpg", tmp_path / "http/packages.invalid/repo", tmp_path / "out"
    for folder, mode in ((home, 0o700), (repository, 0o755), (out, 0o755)):
        folder.mkdir(mode=mode, parents=True)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-generate-key", "site", "rsa2048"], check=True)
    with (tmp_path / "key").open("wb") as key:
        subprocess.run([*gpg, "--armor", "--export"], check=True, stdout=key)
    shutil.copy(workshop.files["kernel-firmware-2-1"], repository / "a.rpm")
    macros = ["--define", "_gpg_name site", "--define", f"_gpg_path {home}"]
    macros += ["--define", f"__gpg {shutil.which('gpg')}"]
    sign = ["rpmsign", *macros, "--addsign", str(repository / "a.rpm")]
    subprocess.run(sign, check=True, capture_output=True)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
    subprocess.run(["createrepo_c", "-q", str(repository)], check=True)
    workshop.files["key"] = tmp_path / "key"
    try:
        with Mirror(tmp_path) as mirror, workshop.root(out=out) as root:
            stage = Repository(name="r", id="tests", baseurl=REPOSITORY, import_key=("key",))
            stage.run(root, Inputs(sources={"key": f"{INPUTS}/key"}))
            mirrors = {"http://packages.invalid/": mirror.map("http://packages.invalid/")}
            found = resolve(root, PackageRequest(install=("kernel-firmware",)), mirrors=mirrors)
    finally:
        del workshop.files["key"]
    assert [package.nevra for package in found.install] == ["kernel-firmware-2-1.noarch"]
    assert found.install[0].base_urls == (REPOSITORY,)


def test_an_image_without_package_manager_is_told(workshop: Workshop, tmp_path: Path) -> None:
    with workshop.root(out=tmp_path) as root:
        root.run(["rm", "-f", "/usr/bin/dnf", "/usr/bin/dnf-3", "/usr/bin/yum"])
        with pytest.raises(PipelineError, match="no package manager"):
            resolve(root, PackageRequest(install=("gamma",)))


def test_what_yum_3_leaves_out_in_silence_is_an_error(workshop: Workshop, tmp_path: Path) -> None:
    yum3 = """case "$*" in *--version*) echo 3.2.29 ;; *repolist*) ;;
        *) echo 'No package nosuch available.'; exec dnf -y install gamma ;; esac"""
    with resolving_root(workshop, tmp_path) as (root, mirrors):
        put_program(root, "/usr/local/bin/yum", yum3)
        with pytest.raises(PipelineError, match="No package nosuch available"):
            resolve(root, PackageRequest(install=("nosuch", "gamma")), mirrors=mirrors)


def test_yum_3_which_installs_nothing_older_is_asked_to_downgrade(workshop: Workshop, tmp_path: Path) -> None:
    yum3 = """case "$*" in *--version*) echo 3.2.29 ;; *repolist*) ;;
        *" install "*) echo 'does not update installed package' ;; *) exec dnf "$@" ;; esac"""
    path = "rpms/alpha-1.0-1.noarch.rpm"
    with resolving_root(workshop, tmp_path) as (root, mirrors):
        resolve(root, PackageRequest(upgrade=("alpha",)), mirrors=mirrors)
        put_program(root, "/usr/local/bin/yum", yum3)
        found = resolve(root, PackageRequest(install=(path,)), files={path: f"{INPUTS}/alpha-1.0-1"})
    assert [package.nevra for package in found.install] == ["alpha-1.0-1.noarch"]


def test_a_package_manager_that_keeps_no_files_is_found_out(workshop: Workshop, tmp_path: Path) -> None:
    forgetful = '/usr/bin/dnf "$@" && find /run/pipeline/out -name "*.rpm" -delete'
    with resolving_root(workshop, tmp_path) as (root, mirrors):
        put_program(root, "/usr/local/bin/yum", forgetful)
        with pytest.raises(PipelineError, match=r"gamma-1\.0-1\.noarch was installed, but its RPM is not"):
            resolve(root, PackageRequest(install=("gamma",)), mirrors=mirrors)


def test_a_repository_in_a_folder_gives_its_files_too(workshop: Workshop, tmp_path: Path) -> None:
    with workshop.root(out=tmp_path) as root:
        root.run(["mkdir", "/repo"])
        names = [name for name in workshop.files if (workshop.folder / "new" / f"{name}.noarch.rpm").exists()]
        for name in names:
            root.run(["cp", f"{INPUTS}/{name}", f"/repo/{name}.noarch.rpm"])
        root.run(["createrepo_c", "-q", "/repo"])
        Repository(name="r", id="folder", baseurl="file:///repo", gpgcheck=False).run(root, Inputs())
        found = resolve(root, PackageRequest(install=("kernel-firmware",)))
    assert found.install[0].file is not None
    assert (tmp_path / found.install[0].file).is_file()
    assert found.install[0].base_urls == ("file:///repo",)
