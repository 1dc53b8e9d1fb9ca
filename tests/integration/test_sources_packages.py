"""RPM headers and repositories, of packages built by rpmbuild and lists made by createrepo_c."""

from __future__ import annotations

import bz2
import gzip
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest

from pipeline.errors import PipelineError
from pipeline.lab.mirror import Mirror
from pipeline.lab.rpmbuild import rpmbuild
from pipeline.mirrors import Mirrors
from pipeline.recipe.model import Downloads
from pipeline.sources import repodata, rpmheader
from pipeline.sources.downloads import Fetcher

pytestmark = pytest.mark.skipif(
    not (shutil.which("rpmbuild") and shutil.which("createrepo_c")), reason="needs rpmbuild and createrepo_c"
)

SPEC = """\
Name: demo
{epoch}
Version: 1.0
Release: 3.el6
Summary: demo
License: none
{arch}
%description
demo
%install
mkdir -p %{{buildroot}}/etc/demo
echo hi > %{{buildroot}}/etc/demo/one
ln -s one %{{buildroot}}/etc/demo/link
%files
{files}
"""
QUICK = Downloads(attempts=2, timeout=5.0, longest_wait=0.01)
URL = "http://vendor.example.com/repo"


def build(directory: Path, *, epoch: str = "", arch: str = "", files: str = "/etc/demo/one") -> Path:
    directory.mkdir(exist_ok=True)
    spec = directory / "demo.spec"
    spec.write_text(SPEC.format(epoch=epoch, arch=arch, files=files))
    defines = {"target": "noarch"} if arch else {}
    defines["_unpackaged_files_terminate_build"] = "0"
    [package] = rpmbuild(spec, sources=directory, out=directory / "out", defines=defines)
    return package


@pytest.mark.parametrize(
    ("epoch", "arch", "expected"),
    [
        ("", "", "demo-1.0-3.el6.x86_64"),
        ("Epoch: 0", "", "demo-1.0-3.el6.x86_64"),
        ("Epoch: 2", "BuildArch: noarch", "demo-2:1.0-3.el6.noarch"),
    ],
)
def test_the_nevra_is_what_rpm_says(tmp_path: Path, epoch: str, arch: str, expected: str) -> None:
    package = build(tmp_path, epoch=epoch, arch=arch)
    assert rpmheader.nevra(package) == expected
    asked = subprocess.run(
        ["rpm", "-qp", "--qf", "%{nevra}", package], capture_output=True, text=True, check=True
    )
    assert asked.stdout in (expected, expected.replace("demo-1", "demo-0:1"))


@pytest.mark.parametrize(
    "files", ["/etc/demo/one", "%attr(4750,root,daemon) /etc/demo/one\n/etc/demo/link", ""]
)
def test_the_files_are_those_that_rpm_lists(tmp_path: Path, files: str) -> None:
    package = build(tmp_path, files=files)
    names = ("names", "modes:octal", "sizes", "username", "groupname", "digests", "linktos")
    form = "[" + " ".join(f"%{{file{name}}}" for name in names) + "\n]"
    listed = subprocess.run(
        ["rpm", "-qp", "--qf", form, package], capture_output=True, text=True, check=True
    ).stdout
    mine = [
        f"{file.path} {file.mode:o} {file.size} {file.owner} {file.group} {file.digest} {file.link}"
        for file in rpmheader.read(package).files
    ]
    assert mine == [line.replace("(none)", "") for line in listed.splitlines()]


def test_every_cut_and_many_damages_of_a_header_are_refused_or_harmless(tmp_path: Path) -> None:
    package = build(tmp_path)
    whole = package.read_bytes()
    broken = tmp_path / "broken.rpm"
    for end in range(0, 1200, 37):
        broken.write_bytes(whole[:end])
        with pytest.raises(PipelineError, match=r"broken\.rpm"):
            rpmheader.nevra(broken)
    for place in range(0, 3000, 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        broken.write_bytes(damaged)
        try:
            rpmheader.read(broken)
        except PipelineError as error:
            assert "broken.rpm" in str(error)


def test_what_is_no_rpm_is_refused_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.rpm").write_bytes(b"<html>404</html>")
    with pytest.raises(PipelineError, match="is not an RPM"):
        rpmheader.nevra(tmp_path / "x.rpm")
    with pytest.raises(PipelineError, match="cannot read"):
        rpmheader.nevra(tmp_path / "nothing.rpm")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("package"))


@pytest.fixture
def repository(tmp_path: Path, package: Path) -> Path:
    """The folder of a repository below a mirror's root, with the package in a folder of its own."""
    folder = tmp_path / "root/http/vendor.example.com/repo"
    (folder / "a b").mkdir(parents=True)
    shutil.copy(package, folder / "a b/demo.rpm")
    return folder


def createrepo(folder: Path, *options: str, database: str = "--no-database") -> None:
    subprocess.run(["createrepo_c", "-q", database, *options, folder], check=True)


def locate(mirror: Mirror, directory: Path, *files: Path, urls: tuple[str, ...] = (URL,)) -> dict[Path, str]:
    mirrors = Mirrors({"http://vendor.example.com": mirror.map("http://vendor.example.com")})
    return repodata.locate(urls, files, Fetcher(directory / "downloads", mirrors, QUICK), directory)


@pytest.mark.parametrize(
    "options",
    [
        ("--general-compress-type=gz",),
        ("--general-compress-type=xz",),
        ("--general-compress-type=bz2",),
        ("--checksum=sha",),
        ("--simple-md-filenames",),
        ("--checksum=sha512",),
    ],
)
def test_a_package_file_is_found_by_its_digest(
    tmp_path: Path, repository: Path, package: Path, options: tuple[str, ...]
) -> None:
    createrepo(repository, *options)
    other = tmp_path / "other.rpm"
    other.write_bytes(b"other")
    with Mirror(tmp_path / "root") as mirror:
        found = locate(mirror, tmp_path, package, other)
        assert locate(mirror, tmp_path, package, urls=(mirror.map(URL) + "/",)) == found
    assert list(found) == [package], "what no repository holds is absent"
    assert found[package] == f"{URL}/a%20b/demo.rpm"


def test_a_package_is_fetched_again_whatever_its_file_is_called(
    tmp_path: Path, repository: Path, package: Path
) -> None:
    """The URLs are those that dnf asks for: names of files, quoted, and %20 in a name is a name as well."""
    (repository / "a b/demo.rpm").rename(repository / "a b/spa ced%20x#y?+é~1.0.rpm")
    createrepo(repository)
    with Mirror(tmp_path / "root") as mirror:
        [url] = locate(mirror, tmp_path, package).values()
        assert url == f"{URL}/a%20b/spa%20ced%2520x%23y%3F%2B%C3%A9~1.0.rpm"
        mirrors = Mirrors({URL: mirror.map(URL)})
        fetched = Fetcher(tmp_path / "again", mirrors, QUICK).fetch(url, project=tmp_path)
    assert fetched.path.read_bytes() == package.read_bytes()


def test_a_repository_of_files_has_urls_of_files(tmp_path: Path, repository: Path, package: Path) -> None:
    (repository / "a b/demo.rpm").rename(repository / "a b/d#%20.rpm")
    createrepo(repository)
    fetcher = Fetcher(tmp_path / "downloads", Mirrors({}), QUICK)
    [url] = repodata.locate([f"file://{quote(str(repository))}"], [package], fetcher, tmp_path).values()
    assert url.endswith("/a%20b/d%23%2520.rpm")
    assert fetcher.fetch(url, project=tmp_path).path.read_bytes() == package.read_bytes()


@pytest.mark.skipif(not shutil.which("zstd"), reason="needs zstd")
def test_lists_compressed_by_zstd_are_read(tmp_path: Path, repository: Path, package: Path) -> None:
    createrepo(repository, "--simple-md-filenames")
    primary = repository / "repodata/primary.xml"
    packed = gzip.decompress((repository / "repodata/primary.xml.gz").read_bytes())
    primary.write_bytes(packed)
    subprocess.run(["zstd", "-q", "--rm", primary], check=True)
    repomd = repository / "repodata/repomd.xml"
    old, new = (
        sha256((repository / f"repodata/primary.xml.{end}").read_bytes()).hexdigest() for end in ("gz", "zst")
    )
    repomd.write_text(repomd.read_text().replace("primary.xml.gz", "primary.xml.zst").replace(old, new))
    with Mirror(tmp_path / "root") as mirror:
        assert list(locate(mirror, tmp_path, package)) == [package]


def test_a_directory_is_a_repository_too(tmp_path: Path, repository: Path, package: Path) -> None:
    createrepo(repository)
    fetcher = Fetcher(tmp_path / "downloads", Mirrors({}), QUICK)
    found = repodata.locate([str(repository)], [package], fetcher, tmp_path)
    assert found == {package: f"{repository}/a b/demo.rpm"}


def test_packages_that_lie_elsewhere_keep_their_own_base(
    tmp_path: Path, repository: Path, package: Path
) -> None:
    createrepo(repository, "--baseurl=http://cdn.example.com/x")
    with Mirror(tmp_path / "root") as mirror:
        assert locate(mirror, tmp_path, package)[package] == "http://cdn.example.com/x/a%20b/demo.rpm"


def test_a_list_that_is_not_what_repomd_says_is_refused(
    tmp_path: Path, repository: Path, package: Path
) -> None:
    for option in ("--checksum=sha256", "--checksum=sha"):
        createrepo(repository, "--simple-md-filenames", option)
        (repository / "repodata/primary.xml.gz").write_bytes(gzip.compress(b"<metadata/>"))
        with Mirror(tmp_path / "root") as mirror, pytest.raises(PipelineError, match=r"primary\.xml\.gz"):
            locate(mirror, tmp_path, package)


@pytest.mark.parametrize("content", [b"", b"<html>", b"<repomd/>", b"\x00"])
def test_a_damaged_repomd_is_named(tmp_path: Path, repository: Path, package: Path, content: bytes) -> None:
    (repository / "repodata").mkdir()
    (repository / "repodata/repomd.xml").write_bytes(content)
    with Mirror(tmp_path / "root") as mirror, pytest.raises(PipelineError, match=r"repo/repomd\.xml"):
        locate(mirror, tmp_path, package)


def test_a_repository_that_is_gone_matters_only_when_something_is_missing(
    tmp_path: Path, repository: Path, package: Path
) -> None:
    createrepo(repository)
    gone = "http://vendor.example.com/gone"
    with Mirror(tmp_path / "root") as mirror:
        assert list(locate(mirror, tmp_path, package, urls=(gone, URL))) == [package]
        with pytest.raises(PipelineError, match="404"):
            locate(mirror, tmp_path, package, urls=(gone,))


KEPT = {
    "dnf": ("*-primary.xml.gz", "repodata", None),
    "yum 3": ("*-primary.sqlite.bz2", ".", None),
    "yum 3, unpacked": ("*-primary.sqlite.bz2", ".", "gen/primary_db.sqlite"),
}
"""Which list it keeps, where repomd.xml and that lie in its folder, and its name once it is unpacked."""


@pytest.mark.parametrize("manager", KEPT)
@pytest.mark.parametrize("options", [(), ("--baseurl=http://cdn.example.com/x",)])
def test_a_package_is_found_by_the_lists_that_its_package_manager_keeps(
    tmp_path: Path, repository: Path, package: Path, manager: str, options: tuple[str, ...]
) -> None:
    pattern, where, unpacked = KEPT[manager]
    createrepo(repository, *options, database="--database")
    folder = tmp_path / "cache/tests-0123456789abcdef"
    (folder / where).mkdir(parents=True)
    (folder / "gen").mkdir()
    shutil.copy(repository / "repodata/repomd.xml", folder / where)
    [listed] = (repository / "repodata").glob(pattern)
    kept = Path(shutil.copy(listed, folder / where))
    if unpacked is not None:
        (folder / unpacked).write_bytes(bz2.decompress(kept.read_bytes()))
        kept.unlink()
        kept = folder / unpacked
    fetcher = Fetcher(tmp_path / "downloads", Mirrors({}), QUICK)
    url = "http://cdn.example.com/x" if options else URL
    folders = {tmp_path / "none": "http://none", folder: URL}
    assert repodata.locate_kept(folders, [package], fetcher) == {package: f"{url}/a%20b/demo.rpm"}
    assert repodata.locate_kept(folders, [listed], fetcher) == {}
    kept.write_bytes(kept.read_bytes()[:-1])
    assert repodata.locate_kept(folders, [package], fetcher) == {}, "it is not what repomd.xml says"
    (folder / where / "repomd.xml").write_text("<")
    assert repodata.locate_kept(folders, [package], fetcher) == {}
