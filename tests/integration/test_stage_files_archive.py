"""The stage archive in a real chroot, with archives of real tools and with hostile ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pycdlib
import pytest
import zstandard
from small_root import SmallRoot

from pipeline.errors import PipelineError
from pipeline.stages.archive import Archive

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

LONG = "d" * 120 + "/" + "f" * 150


@pytest.fixture
def root(tmp_path: Path) -> SmallRoot:
    return SmallRoot(tmp_path / "root")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tree with everything that an archive of a vendor may hold."""
    folder = tmp_path / "source" / "MLNX"
    (folder / LONG).parent.mkdir(parents=True)
    (folder / LONG).write_text("long\n")
    (folder / "install").write_text("#!/bin/sh\n")
    (folder / "install").chmod(0o4755)
    os.chown(folder / "install", 120, 130)
    os.utime(folder / "install", (1_400_000_000, 1_400_000_000))
    os.chown(folder / "install", 120, 130)
    (folder / "install").chmod(0o4755)
    (folder / "same").hardlink_to(folder / "install")
    (folder / "link").symlink_to("install")
    (folder / "RPMS").mkdir(mode=0o555)
    (folder / "RPMS").chmod(0o555)
    os.utime(folder / "RPMS", (1_300_000_000, 1_300_000_000))
    with open(folder / "sparse", "wb") as file:
        file.write(b"begin")
        file.truncate(8 << 20)
    return folder


def tar(folder: Path, *options: str) -> bytes:
    argv = ["tar", *options, "-C", str(folder.parent), "-cf", "-", folder.name]
    return subprocess.run(argv, check=True, capture_output=True).stdout


def members(*infos: tarfile.TarInfo, content: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return out.getvalue()


def info(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, target, size
    return made


def unpack(root: SmallRoot, content: bytes, **options: object) -> None:
    source = root.home / "archive"
    source.write_bytes(content)
    stage = Archive(**{"name": "x", "source": "http://vendor/a.tgz", "destination": "/opt/x", **options})  # type: ignore[arg-type]
    root.run(stage, source=source)


def error_of(root: SmallRoot, content: bytes, **options: object) -> str:
    with pytest.raises(PipelineError) as caught:
        unpack(root, content, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress]
)
@pytest.mark.parametrize("style", ["--format=gnu", "--format=pax"])
def test_a_tar_archive_is_unpacked_as_it_was_packed(
    root: SmallRoot, folder: Path, compress: object, style: str
) -> None:
    assert callable(compress)
    unpack(root, compress(tar(folder, style, "--sparse")), strip=1)
    assert root.look("/opt/x/install") == (120, 130, "4755")
    assert root.path("/opt/x/install").stat().st_mtime == 1_400_000_000
    assert root.path("/opt/x/same").samefile(root.path("/opt/x/install"))
    assert os.readlink(root.path("/opt/x/link")) == "install"
    assert root.look("/opt/x/RPMS")[2] == "0555"
    assert root.path("/opt/x/RPMS").stat().st_mtime == 1_300_000_000
    assert root.text(f"/opt/x/{LONG}") == "long\n"
    sparse = root.path("/opt/x/sparse").stat()
    assert sparse.st_size == 8 << 20 and sparse.st_blocks * 512 < 1 << 20
    assert root.path("/opt/x/sparse").read_bytes() == (folder / "sparse").read_bytes()


def test_a_zip_archive_is_unpacked_with_modes_and_links(root: SmallRoot, folder: Path) -> None:
    (folder / "install").chmod(0o755)
    out = folder.parent / "a.zip"
    subprocess.run(["zip", "-qry", str(out), folder.name], check=True, cwd=folder.parent)
    unpack(root, out.read_bytes(), strip=1)
    assert root.look("/opt/x/install") == (0, 0, "0755")
    assert root.text("/opt/x/install") == "#!/bin/sh\n"
    assert os.readlink(root.path("/opt/x/link")) == "install"
    assert root.look("/opt/x/RPMS")[2] == "0555"
    assert root.text(f"/opt/x/{LONG}") == "long\n"


@pytest.mark.parametrize(
    ("options", "installer", "deep"),
    [
        (["-R"], "MLNX/install", "MLNX/1/2/3/4/5/6/7/8/9/end"),
        (["-J"], "MLNX/install", "MLNX/1/2/end"),
        ([], "mlnx/install", "mlnx/1/2/end"),
    ],
)
def test_an_iso_image_is_unpacked(
    root: SmallRoot, tmp_path: Path, options: list[str], installer: str, deep: str
) -> None:
    import pycdlib

    iso = pycdlib.PyCdlib()
    rock, joliet = "-R" in options, "-J" in options
    iso.new(rock_ridge="1.09" if rock else None, joliet=3 if joliet else None)

    def names(path: str) -> dict[str, str]:
        found = {"rr_name": path.rpartition("/")[2]} if rock else {}
        return {**found, **({"joliet_path": path} if joliet else {})}

    at = ""
    for part in deep.split("/")[:-1]:
        at += f"/{part}"
        iso.add_directory(at.upper(), **names(at if not joliet else at.replace("mlnx", "MLNX")))
    for path, content in ((installer, b"#!/bin/sh\n"), (deep, b"deep")):
        name = f"/{path.upper()}.;1"
        mode = {"file_mode": 0o100555} if rock else {}
        iso.add_fp(io.BytesIO(content), len(content), name, **names(f"/{path}"), **mode)
    if rock:
        iso.add_symlink("/MLNX/LINK.;1", rr_symlink_name="link", rr_path="install")
    out = io.BytesIO()
    iso.write_fp(out)
    unpack(root, out.getvalue())
    assert root.text(f"/opt/x/{installer}") == "#!/bin/sh\n"
    assert root.text(f"/opt/x/{deep}") == "deep"
    assert root.look(f"/opt/x/{installer}") == (0, 0, "0555" if rock else "0644")
    if rock:
        assert os.readlink(root.path("/opt/x/MLNX/link")) == "install"


@pytest.mark.skipif(which("genisoimage") is None, reason="needs genisoimage")
@pytest.mark.parametrize("options", [["-R"], ["-R", "-J"], ["-R", "-D"]])
def test_an_iso_image_with_folders_moved_up_is_unpacked_with_them_in_their_place(
    root: SmallRoot, folder: Path, options: list[str]
) -> None:
    deep = folder / "1/2/3/4/5/6/7/8/9/10"
    deep.mkdir(parents=True)
    (deep / "end").write_text("deep")
    out = folder.parent / "a.iso"
    subprocess.run(["genisoimage", "-quiet", *options, "-o", str(out), str(folder.parent)], check=True)
    unpack(root, out.read_bytes(), strip=1)
    assert root.text("/opt/x/1/2/3/4/5/6/7/8/9/10/end") == "deep"
    assert root.look("/opt/x/install") == (120, 130, "4755")
    assert os.readlink(root.path("/opt/x/link")) == "install"
    assert root.text(f"/opt/x/{LONG}") == "long\n"
    assert root.path("/opt/x/sparse").stat().st_size == 8 << 20
    assert not root.path("/opt/x/rr_moved").exists() and not root.path("/opt/rr_moved").exists()


HARM = [
    (info("../out"), "member '../out' has a '..'"),
    (info("/etc/passwd"), "member '/etc/passwd' has an absolute name"),
    (info("a", tarfile.SYMTYPE, "/etc"), "member 'a' is a link that leads out of the destination, to /etc"),
    (info("a", tarfile.LNKTYPE, "../../etc/passwd"), "member 'a' is a hard link that leads out"),
    (info("a", tarfile.CHRTYPE), "member 'a' is a character device"),
    (info("a", tarfile.BLKTYPE), "member 'a' is a block device"),
    (info("a", tarfile.FIFOTYPE), "member 'a' is a fifo"),
    (info("a\nb"), "control characters"),
]


@pytest.mark.parametrize(("member", "reason"), HARM)
def test_a_harmful_archive_is_refused_by_member_before_anything_is_written(
    root: SmallRoot, member: tarfile.TarInfo, reason: str
) -> None:
    message = error_of(root, members(info("good"), member))
    assert message.startswith("http://vendor/a.tgz: ") and reason in message
    assert root.changed() == []


def test_nothing_is_written_through_a_link_of_the_archive(root: SmallRoot) -> None:
    content = members(info("etc", tarfile.SYMTYPE, "."), info("etc/passwd"))
    assert "member 'etc/passwd' lies below etc" in error_of(root, content, destination="/")
    assert root.changed() == []


def test_nothing_is_written_through_a_link_of_the_image_that_leads_out_of_the_destination(
    root: SmallRoot, tmp_path: Path
) -> None:
    (root.image / "opt/x").mkdir()
    (root.image / "opt/x/a").symlink_to("/etc")
    assert "is a link in the image that leads out of /opt/x, to /etc" in error_of(root, members(info("a/b")))
    outside = tmp_path / "outside"
    outside.mkdir()
    (root.image / "opt/out").symlink_to(outside)
    error_of(root, members(info("a")), destination="/opt/out")
    assert list(outside.iterdir()) == [] and root.changed() == []


def test_links_of_the_image_that_stay_in_the_destination_are_followed(root: SmallRoot) -> None:
    (root.image / "usr/lib").mkdir(parents=True)
    (root.image / "lib").symlink_to("usr/lib")
    unpack(root, members(info("lib/x")), destination="/")
    assert root.changed() == ["usr/lib/x"]


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(root: SmallRoot) -> None:
    (root.image / "etc/x").symlink_to("passwd")
    unpack(root, members(info("etc/x", size=3), content=b"new"), destination="/")
    assert root.text("/etc/x") == "new" and root.changed() == ["etc/x"]


def test_directories_of_the_image_keep_their_looks(root: SmallRoot) -> None:
    (root.image / "opt").chmod(0o711)
    unpack(root, members(info(".", tarfile.DIRTYPE), info("new", tarfile.DIRTYPE)), destination="/opt")
    assert root.look("/opt") == (0, 0, "0711")


def test_a_file_does_not_replace_a_directory_of_the_image(root: SmallRoot) -> None:
    (root.image / "opt/x/a").mkdir(parents=True)
    assert "/opt/x/a is a directory in the image" in error_of(root, members(info("a")))


def test_owner_is_for_all_of_it_and_takes_set_id_bits_away(root: SmallRoot, folder: Path) -> None:
    unpack(root, tar(folder), strip=1, owner="eswitch:eswitch")
    assert root.look("/opt/x/install") == (120, 130, "0755")
    assert root.look("/opt/x/link")[:2] == (120, 130)


@pytest.mark.parametrize("cut", [5, 600, 3000, -5, -2000])
def test_an_archive_that_was_cut_off_is_refused_before_anything_is_written(root: SmallRoot, cut: int) -> None:
    noise = random.Random(1).randbytes(5000)
    whole = members(info("a", size=5000), info("b", size=5000), content=noise)
    assert "http://vendor/a.tgz" in error_of(root, gzip.compress(whole)[:cut])
    assert root.changed() == []


@pytest.mark.parametrize("cut", [512, 512 + 5120, 700, 6000, 2 * (512 + 5120)])
def test_a_plain_tar_that_was_cut_off_is_refused_wherever_it_was(root: SmallRoot, cut: int) -> None:
    whole = members(info("a", size=5000), info("b", size=5000), content=b"x" * 5000)
    assert "damaged or not whole" in error_of(root, whole[:cut])
    assert root.changed() == []


def test_damage_in_the_middle_is_not_taken_for_the_end(root: SmallRoot) -> None:
    whole = bytearray(members(info("a"), info("b"), info("c")))
    whole[512:612] = b"garbage" + bytes(93)
    assert "damaged header" in error_of(root, bytes(whole))


def test_what_is_no_archive_is_told(root: SmallRoot) -> None:
    assert "it is a web page" in error_of(root, b"<!DOCTYPE html><html>404</html>")
    assert "is no archive" in error_of(root, b"\x7fELF" + bytes(1000))
    assert "damaged or not whole" in error_of(root, gzip.compress(b"a single file"))
    assert "is no archive" in error_of(root, b"")


def zeros_in_gzip(size: int) -> bytes:
    head = info("zeros", size=size).tobuf(tarfile.GNU_FORMAT)
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb") as file:
        file.write(head)
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
        file.write(bytes(1024))
    return out.getvalue()


def test_a_bomb_is_refused_before_anything_is_written(root: SmallRoot) -> None:
    assert "a bomb" in error_of(
        root, bz2.compress(members(info("a", size=101 << 20), content=bytes(101 << 20)))
    )
    assert "max_bytes" in error_of(root, zeros_in_gzip(2 << 20), max_bytes=1 << 20)
    assert "max_files" in error_of(root, members(*(info(str(n)) for n in range(12))), max_files=11)
    assert root.changed() == []


def zst(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def much(*, zeros: int, noise: int) -> bytes:
    """A tar whose zeros are packed more than a thousand times, before what cannot be packed."""
    content = bytes(zeros) + random.Random(1).randbytes(noise)
    return members(info("a", size=len(content)), content=content)


@pytest.mark.parametrize("cut", [600, 20_000, 60_000, -2000, -2])
@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress, zst], ids=lambda pack: pack.__name__
)
def test_a_packed_tar_that_was_cut_off_is_no_bomb(
    root: SmallRoot, pack: Callable[[bytes], bytes], cut: int
) -> None:
    message = error_of(root, pack(much(zeros=(101 << 20) if cut > 0 else 1000, noise=100_000))[:cut])
    assert "damaged or not whole" in message and "bomb" not in message
    assert root.changed() == []


@pytest.mark.parametrize("cut", [600, 20_000])
def test_a_plain_tar_that_claims_much_and_was_cut_off_is_no_bomb(root: SmallRoot, cut: int) -> None:
    whole = info("a", size=200 << 20).tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)
    message = error_of(root, whole[:cut])
    assert "damaged or not whole" in message and "bomb" not in message


def test_zstd_that_is_whole_is_taken_whatever_its_frames(root: SmallRoot) -> None:
    whole = members(info("a", size=300_000), content=bytes(300_000))
    skipped = (0x184D2A53).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"hello"
    unpack(root, zst(whole[:1000]) + skipped + zst(whole[1000:]) + skipped)
    assert "opt/x/a" in root.changed()


@pytest.mark.parametrize("rock_ridge", ["1.09", None])
@pytest.mark.parametrize("missing", [1, 99_000, 150_000])
def test_an_iso_that_was_cut_off_is_refused_and_not_shortened(
    root: SmallRoot, rock_ridge: str | None, missing: int
) -> None:
    iso = pycdlib.PyCdlib()
    iso.new(rock_ridge=rock_ridge)
    for name in ("A", "B"):
        content = io.BytesIO(random.Random(1).randbytes(100_000))
        named = {"rr_name": name.lower()} if rock_ridge else {}
        iso.add_fp(content, 100_000, f"/{name}.;1", **named)
    out = io.BytesIO()
    iso.write_fp(out)
    iso.close()
    whole = out.getvalue()
    end = whole.rindex(random.Random(1).randbytes(100_000)) + 100_000
    assert "was it cut off?" in error_of(root, whole[: end - missing])
    assert root.changed() == []


def test_a_zip_that_was_cut_off_behind_a_zip_inside_of_it_is_refused(root: SmallRoot) -> None:
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("inner", b"x")
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("first", b"x")
        archive.writestr("inner.zip", inner.getvalue())
    whole = outer.getvalue()
    end = whole.index(inner.getvalue()) + len(inner.getvalue())
    assert "damaged or not whole" in error_of(root, whole[:end])
    assert root.changed() == []


def test_a_zip_bomb_is_refused_by_what_it_declares(root: SmallRoot) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", bytes(101 << 20))
    assert "a bomb" in error_of(root, out.getvalue())


def test_a_header_that_claims_to_be_huge_is_not_read(root: SmallRoot) -> None:
    long_name = info("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=1 << 30)
    assert "header that claims" in error_of(root, long_name.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))


def test_what_does_not_fit_on_the_disk_is_refused(root: SmallRoot) -> None:
    free = os.statvfs(root.home)
    size = free.f_bavail * free.f_frsize + (1 << 30)
    sparse = info("a", tarfile.GNUTYPE_SPARSE, size=0)
    block = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"%011o\0%011o\0" % (0, 0)
    block[483:495] = b"\x80" + size.to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    message = error_of(root, bytes(block) + bytes(1024), max_bytes=size * 2)
    assert "are free" in message


@pytest.mark.parametrize(
    ("name", "mode", "content", "reason"),
    [
        ("../out", 0o100644, b"", "has a '..'"),
        ("/etc/x", 0o100644, b"", "absolute"),
        ("a\0b", 0o100644, b"", "control characters"),
        ("a", stat.S_IFLNK | 0o777, b"/etc", "leads out"),
        ("a", stat.S_IFIFO | 0o644, b"", "device or fifo"),
    ],
)
def test_a_harmful_zip_is_refused(root: SmallRoot, name: str, mode: int, content: bytes, reason: str) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        member = zipfile.ZipInfo(name.replace("\0", "?"))
        member.create_system, member.external_attr = 3, mode << 16
        archive.writestr(member, content)
    hostile = out.getvalue().replace(b"a?b", b"a\0b")
    assert reason in error_of(root, hostile)
    assert root.changed() == []


@pytest.mark.parametrize("kind", ["tar", "gz", "zip"])
def test_any_damage_is_an_error_of_this_program(root: SmallRoot, folder: Path, kind: str) -> None:
    if kind == "zip":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(folder / "install", "install")
            archive.write(folder / "link", "link")
        whole = out.getvalue()
    else:
        whole = members(info("a", size=900), info("b", tarfile.SYMTYPE, "a"), content=b"x" * 900)
        whole = gzip.compress(whole) if kind == "gz" else whole
    chance = random.Random(7)
    for _ in range(12):
        broken = bytearray(whole)
        for _ in range(4):
            broken[chance.randrange(min(len(broken), 2048))] = chance.randrange(256)
        try:
            unpack(root, bytes(broken))
        except PipelineError as error:
            assert "http://vendor/a.tgz" in str(error) or "/opt/x" in str(error)


@pytest.mark.parametrize("fresh", ["/tmp", "/var/tmp", "/run"])
def test_a_destination_that_is_a_link_to_a_fresh_filesystem_is_refused(root: SmallRoot, fresh: str) -> None:
    (root.image / fresh[1:]).mkdir(parents=True)
    (root.image / "opt/z").symlink_to(fresh)
    message = error_of(root, members(info("a")), destination="/opt/z")
    assert f"/opt/z: {fresh} is not part of the image" in message


def test_members_that_a_fresh_filesystem_would_swallow_are_refused_by_name(root: SmallRoot) -> None:
    (root.image / "run").mkdir()
    (root.image / "opt/z").symlink_to("/run")
    folders = [info(name, tarfile.DIRTYPE) for name in ("run", "run/new")]
    message = error_of(
        root, members(*folders, info("run/new/a"), info("opt/z/b"), info("c")), destination="/"
    )
    assert [line.split(":", 2)[2].split()[0] for line in message.splitlines()] == [
        "/run/new",
        "/run/new/a",
        "/opt/z/b",
    ]
    assert "would be lost" in message


def test_the_empty_folder_of_a_fresh_filesystem_may_be_in_an_archive(root: SmallRoot) -> None:
    (root.image / "run").mkdir()
    unpack(root, members(info("run", tarfile.DIRTYPE), info("c")), destination="/")
    assert root.path("/c").exists()


def test_a_member_thousands_of_folders_deep_is_refused_by_name(root: SmallRoot) -> None:
    message = error_of(root, members(info("d/" * 3000 + "d")))
    assert "a.tgz: member 'd/d/" in message and "lies 3000 folders deep" in message


def test_the_deepest_that_is_allowed_is_unpacked(root: SmallRoot) -> None:
    unpack(root, members(info("d/" * 256 + "d")))
    assert root.path("/opt/x/" + "d/" * 256 + "d").exists()


def empty_zip() -> bytes:
    out = io.BytesIO()
    zipfile.ZipFile(out, "w").close()
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(members()),
        members(info(".", tarfile.DIRTYPE)),
        empty_zip(),
    ],
    ids=["tar.gz", "only the top", "zip"],
)
def test_an_empty_archive_is_refused(root: SmallRoot, content: bytes) -> None:
    assert "a.tgz: is an empty archive: there is nothing to unpack" in error_of(root, content)
    assert "is an empty archive" in error_of(root, content, strip=1)


def test_a_window_of_zstd_that_takes_too_much_memory_is_told_as_that(root: SmallRoot) -> None:
    compressor = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)
    ).compressobj()
    with pytest.raises(PipelineError, match=r"a window of 2,048 MiB .* at most 128 MiB") as caught:
        unpack(root, compressor.compress(members(info("a"))) + compressor.flush())
    assert "damaged" not in str(caught.value) and "--long=27" in str(caught.value)


CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
"""cap_net_raw=ep, as security.capability holds it (struct vfs_cap_data)."""


def with_xattrs(name: str, kind: bytes = tarfile.REGTYPE, **xattrs: bytes) -> tarfile.TarInfo:
    made = info(name, kind)
    made.pax_headers = {
        f"SCHILY.xattr.{attribute.replace('__', '.')}": value.decode("utf-8", "surrogateescape")
        for attribute, value in xattrs.items()
    }
    return made


def test_capabilities_and_attributes_of_users_are_kept_and_others_told(root: SmallRoot) -> None:
    packed = members(
        with_xattrs("d", tarfile.DIRTYPE, user__note=b"of d"),
        with_xattrs("d/ping", security__capability=CAPABILITY, user__note=b"a\xff\n=b"),
        with_xattrs(
            "d/own", trusted__overlay__opaque=b"y", security__selinux=b"x", user__overlay__whiteout=b""
        ),
    )
    unpack(root, packed)
    place = root.upper / "opt/x/d"
    assert os.getxattr(place, "user.note") == b"of d"
    assert os.getxattr(place / "ping", "security.capability") == CAPABILITY
    assert os.getxattr(place / "ping", "user.note") == b"a\xff\n=b"
    assert not [n for n in os.listxattr(place / "own") if not n.startswith("trusted.overlay.")]
    left_out = "security.selinux, trusted.overlay.opaque, user.overlay.whiteout"
    assert root.notes == [f"http://vendor/a.tgz: attributes that are not unpacked: {left_out}"]


def test_files_that_get_another_owner_lose_the_archives_capabilities(root: SmallRoot) -> None:
    unpack(root, members(with_xattrs("ping", security__capability=CAPABILITY, user__a=b"b")), owner="1:1")
    assert os.listxattr(root.upper / "opt/x/ping") == ["user.a"]
