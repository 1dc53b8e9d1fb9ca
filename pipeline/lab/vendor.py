"""The lab's vendor: the files behind the URLs of the hand procedure, built from this project's own sources.

``home/mirror`` is a link to a folder whose name holds the digest of all that it was built from: one look at
the link says whether it is up to date, and one rename puts a new build in its place.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pipeline import programs
from pipeline.errors import MachineError, PipelineError, Problem
from pipeline.lab import ofed
from pipeline.lab.rpmbuild import EPOCH, rpmbuild
from pipeline.lab.sources import files

DATA = Path(__file__).parent / "vendor"

MELLANOX = "http/www.mellanox.com/downloads"
ICEHOUSE = f"{MELLANOX}/solutions/openstack/icehouse/repo/mlnx-icehouse"
OFED = f"{MELLANOX}/ofed/MLNX_OFED-{ofed.VERSION}"
RDO = "http/repos.fedorapeople.org/repos/openstack/openstack-icehouse/epel-6"
DNSMASQ = (
    "ftp/ftp.pbone.net/mirror/ftp5.gwdg.de/pub/opensuse/repositories/home:/kalyaka/CentOS_CentOS-6/x86_64"
)

PREFIXES: tuple[str, ...] = (
    "http://www.mellanox.com/downloads/",
    "http://repos.fedorapeople.org/repos/openstack/openstack-icehouse/",
    "ftp://ftp.pbone.net/mirror/",
)
"""The beginnings of the URLs that the mirror answers."""

PROGRAMS = {"rpmbuild": "rpm (EL: rpm-build)", "createrepo_c": "createrepo-c (EL: createrepo_c)"}
"""What building needs of the machine, with the packages that bring it."""

SOURCES = ("vendor.py", "ofed.py", "isodates.py", "kmod.py", "library.py", "rpmbuild.py", "sources.py")


def ensure_vendor(home: Path, note: Callable[[str], None]) -> Path:
    """Build what is missing and return the mirror's root, laid out as ``http/HOST/...`` and ``ftp/HOST/...``.

    Kept between calls; a build killed in the middle leaves the mirror as it was. Several processes may call
    this at once: one builds. ``note`` gets a line now and then. Raises ``MachineError`` when programs are
    missing, ``PipelineError`` when ``home`` cannot be written.
    """
    mirror = home / "mirror"
    name = f"vendor-{digest()[:20]}"
    if _is_built(mirror, name):
        return mirror
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _alone(home / "vendor.lock"):
            if not _is_built(mirror, name):
                _check_programs()
                _build(home.resolve(), name, note)
    except OSError as error:
        raise PipelineError(f"the lab's vendor cannot be built: {error}", where=str(home)) from error
    return mirror


def digest() -> str:
    """The sha256 of all that the vendor's files are made from: data with its modes, code, the ISO program."""
    code = [Path(__file__).parent / source for source in SOURCES]
    total = hashlib.sha256(f"{ofed.iso_program()}\0".encode())
    for path in (*code, *files(DATA)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        is_program = os.access(path, os.X_OK)
        total.update(f"{path.relative_to(Path(__file__).parent)}\0{is_program}\0{content}\0".encode())
    return total.hexdigest()


def _is_built(mirror: Path, name: str) -> bool:
    return mirror.is_symlink() and str(mirror.readlink()) == name and mirror.is_dir()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_programs() -> None:
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise MachineError(
            Problem(
                f"the program {program!r} is missing on this machine",
                hint=f"install the package {PROGRAMS[program]}",
                command="make setup",
            )
            for program in missing
        )


def _build(home: Path, name: str, note: Callable[[str], None]) -> None:
    work = home / "vendor.work"
    if work.exists():
        shutil.rmtree(work)
    tree = work / "tree"
    jobs = list(_packages(work, tree))
    _run(jobs, note)
    for repository in (ICEHOUSE, RDO):
        _index(tree / repository)
    shutil.copy(DATA / "icehouse/mlnx-icehouse.repo", tree / ICEHOUSE)
    shutil.copy(DATA / "rdo/rdo-icehouse.repo", tree / RDO)
    note("lab: packing MLNX_OFED")
    ofed.write_release(DATA / "ofed", work / "ofed-rpms", work / "release", tree / OFED)
    _sync(tree)
    finished = home / name
    if finished.exists():
        shutil.rmtree(finished)
    # Stopped before the link's rename, the old mirror is in place and the next call builds again.
    tree.rename(finished)
    link = work / "mirror"
    link.symlink_to(name)
    link.rename(home / "mirror")
    for old in (*home.glob("vendor-*"), work):
        if old != finished:
            shutil.rmtree(old)
    note("lab: the vendor is ready")


def _packages(work: Path, tree: Path) -> Iterator[Callable[[], tuple[Path, ...]]]:
    for package, folder, out in (
        ("eswitchd", "icehouse", ICEHOUSE),
        ("mlnxvif", "icehouse", ICEHOUSE),
        ("mlnx-dnsmasq", "icehouse", ICEHOUSE),
        ("openstack-neutron-mellanox", "rdo", RDO),
        ("dnsmasq", "dnsmasq", DNSMASQ),
    ):
        yield partial(rpmbuild, DATA / folder / f"{package}.spec", sources=DATA / folder, out=tree / out)
    yield from ofed.packages(DATA / "ofed", work / "ofed", work / "ofed-rpms")


def _run(jobs: list[Callable[[], tuple[Path, ...]]], note: Callable[[str], None]) -> None:
    from concurrent.futures import ThreadPoolExecutor, as_completed  # only where something is built

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = [pool.submit(job) for job in jobs]
        try:
            for done, future in enumerate(as_completed(running), start=1):
                future.result()
                if done % 10 == 0 or done == len(running):
                    note(f"lab: {done} of {len(running)} vendor packages built")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _index(repository: Path) -> None:
    """The repository's metadata, the same bytes for the same packages: with their time instead of today's."""
    for package in repository.glob("*.rpm"):
        os.utime(package, (EPOCH, EPOCH))
    options = ["--quiet", f"--revision={EPOCH}", "--set-timestamp-to-revision", "--no-database"]
    programs.run(["createrepo_c", *options, str(repository)])


def _sync(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
