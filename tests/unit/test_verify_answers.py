"""What is answered without a program is what the program says: side by side with testinfra's own modules."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import testinfra
from hypothesis import given, settings
from hypothesis import strategies as st
from testinfra.modules.file import GNUFile
from testinfra.modules.user import User
from verify_local import ENVIRONMENT, DirectImage, LocalRoot

from pipeline.verify import grep
from pipeline.verify.adapter import ImageBackend, ImageHost
from pipeline.verify.bulk import ANSWERS
from pipeline.verify.refusals import Refused


def host_of(root: LocalRoot) -> ImageHost:
    backend = ImageBackend(DirectImage(root), "image")
    host = ImageHost(backend)
    backend.set_host(host)
    return host


@pytest.fixture
def original(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {**ENVIRONMENT, "LC_ALL": "C"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir("/")
    return testinfra.get_host("local://")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with a file of every kind and every sort of link."""
    (tmp_path / "file").write_text("one\nphysical_interface_mappings = ibhostnet:eth6\nlast without newline")
    (tmp_path / "empty").touch()
    (tmp_path / "program").write_text("#!/bin/sh\n")
    (tmp_path / "program").chmod(0o4755)
    os.chown(tmp_path / "program", 12345, 54321)
    (tmp_path / "binary").write_bytes(b"abc\0def\n\xff\xfe\nend")
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    (tmp_path / "utf8").write_text("café\n")
    (tmp_path / "with space 'quote' ü").write_text("x")
    (tmp_path / "old").write_text("x")
    os.utime(tmp_path / "old", (1.5, -1.5))
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    for name in (".hidden", "b", "A", "a b", "ü", "-n", "new\nline"):
        (folder / name).touch()
    folder.chmod(0o1777)
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    for name, target in {
        "link": "file",
        "link-to-folder": "folder",
        "link-far": str(folder / "deep"),
        "dangling": "missing",
        "dangling-deep": "missing/deeper",
        "chain": "link",
        "loop": "loop",
        "up": "folder/../file",
        "root": "/",
        "devnull": "/dev/null",
    }.items():
        (tmp_path / name).symlink_to(target)
    return tmp_path


NAMES = """
file
empty
program
binary
latin
utf8
with space 'quote' ü
old
folder
folder/
folder/deep
folder/.hidden
folder/-n
pipe
socket
link
link/
link-to-folder
link-to-folder/
link-to-folder/b
link-far
dangling
dangling-deep
chain
loop
up
root
devnull
missing
missing/
missing/deeper
file/
file/x
file/..
folder/../file
folder//deep/.
""".strip().splitlines()
PROPERTIES = (
    *(
        "exists",
        "is_file",
        "is_directory",
        "is_executable",
        "is_pipe",
        "is_socket",
        "is_symlink",
        "linked_to",
    ),
    *("user", "uid", "group", "gid", "mode", "mtime", "size", "inode"),
)

QUESTIONS: dict[str, Callable[[GNUFile], Any]] = {
    **{
        name: lambda file, name=name: getattr(file, name)  # type: ignore[misc]
        for name in PROPERTIES
    },
    "listdir": lambda file: file.listdir(),
    # The original waits for ever for somebody to write to a pipe; ours refuses devices as well.
    "contains": lambda file: file.path.endswith(("pipe", "devnull")) or file.contains("^one$"),
}


def outcome(question: Callable[[Any], Any], subject: Any) -> Any:
    """The value, or that there was an error."""
    try:
        return question(subject)
    except (AssertionError, RuntimeError, UnicodeDecodeError) as error:
        return type(error)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_file_is_described_as_testinfra_describes_it(tree: Path, original: Any, question: str) -> None:
    host = host_of(LocalRoot())
    paths = [str(tree / name) for name in NAMES] + ["/etc/passwd", "/bin/sh", "/", "/etc", ""]
    ours = {path: outcome(QUESTIONS[question], host.file(path)) for path in paths}
    theirs = {path: outcome(QUESTIONS[question], original.file(path)) for path in paths}
    assert ours == theirs


@pytest.mark.parametrize("question", ["content", "content_string", "md5sum", "sha256sum"])
def test_a_files_content_is_what_testinfra_reads(tree: Path, original: Any, question: str) -> None:
    host = host_of(LocalRoot())
    for name in ("file", "empty", "binary", "latin", "utf8", "link", "with space 'quote' ü"):
        path = str(tree / name)
        ours = outcome(lambda file: getattr(file, question), host.file(path))
        assert ours == outcome(lambda file: getattr(file, question), original.file(path)), name


@pytest.mark.parametrize("name", ["pipe", "devnull", "socket"])
def test_what_might_never_end_is_not_read(tree: Path, name: str) -> None:
    file = host_of(LocalRoot()).file(str(tree / name))
    with pytest.raises(RuntimeError, match="Invalid argument"):
        _ = file.content
    with pytest.raises(AssertionError, match="Invalid argument"):
        _ = file.md5sum
    with pytest.raises(AssertionError, match="not a file that ends"):
        file.contains("x")


def test_a_name_that_is_not_utf8_is_asked_for_like_any_other(tmp_path: Path) -> None:
    host = host_of(LocalRoot())
    (tmp_path / "q\udcff").write_text("hello\n")
    file, missing = host.file(str(tmp_path / "q\udcff")), host.file(str(tmp_path / "no\udcff"))
    assert file.exists and file.is_file and file.size == 6 and file.content_string == "hello\n"
    assert file.contains("^hello$") and file.contains(r"hel\{2\}o") and not file.contains("\udcff")
    assert host.run("cat %s", file.path).stdout == "hello\n"
    assert not missing.exists
    with pytest.raises(RuntimeError, match=r"no\\+xff: No such file"):
        _ = missing.content
    with pytest.raises(AssertionError, match=r"no\\+xff': No such file"):
        _ = missing.mode
    with pytest.raises(Refused, match=r"/proc/\\xff"):
        _ = host.file("/proc/\udcff").exists


def test_a_digest_of_a_missing_file_is_an_error_and_not_an_empty_text(tmp_path: Path) -> None:
    host = host_of(LocalRoot())
    with pytest.raises(AssertionError, match="No such file"):
        _ = host.file(str(tmp_path / "missing")).sha256sum


def test_questions_about_files_start_no_program(tree: Path) -> None:
    root = LocalRoot()
    host = host_of(root)
    for name in NAMES:
        for question in set(QUESTIONS) - {"contains"}:
            outcome(QUESTIONS[question], host.file(str(tree / name)))
    assert host.file(str(tree / "file")).contains("mappings = .*eth6")
    assert root.commands == []


def test_what_a_command_changes_is_seen_afterwards(tmp_path: Path) -> None:
    host = host_of(LocalRoot())
    file = host.file(str(tmp_path / "new"))
    assert not file.exists
    host.run_test("touch %s", file.path)
    assert file.exists


def test_every_template_is_one_that_testinfra_sends() -> None:
    modules = Path(testinfra.__file__).parent / "modules"
    source = "".join((modules / f"{name}.py").read_text() for name in ("file", "package", "user", "group"))
    unknown = [template for template in ANSWERS if template not in source]
    assert unknown == []


USER_QUESTIONS = (
    *("name", "exists", "uid", "gid", "group", "gids", "groups", "home", "shell", "gecos"),
    *("password", "password_max_days", "password_min_days", "expiration_date"),
    *("get_all_users", "get_local_users"),
)


@pytest.mark.parametrize("name", ["root", "daemon", "mail", "nobody", "0", "nosuchuser"])
def test_users_are_as_testinfra_finds_them(original: Any, name: str) -> None:
    host = host_of(LocalRoot())

    def ask(question: str) -> Callable[[User], Any]:
        return lambda user: getattr(user, question)

    for question in USER_QUESTIONS:
        ours = outcome(ask(question), host.user(name))
        assert ours == outcome(ask(question), original.user(name)), question


def test_a_user_without_a_name_is_the_one_who_tests(original: Any) -> None:
    assert host_of(LocalRoot()).user().name == original.user().name


@pytest.mark.parametrize("name", ["root", "tty", "nogroup", "0", "users"])
def test_groups_are_as_testinfra_finds_them(original: Any, name: str) -> None:
    host = host_of(LocalRoot())
    for question in ("exists", "gid", "members", "get_all_groups", "get_local_groups"):
        assert getattr(host.group(name), question) == getattr(original.group(name), question), question


def test_a_missing_group_does_not_exist() -> None:
    assert not host_of(LocalRoot()).group("nosuchgroup").exists


def test_the_system_is_described_as_testinfra_describes_it(original: Any) -> None:
    assert host_of(LocalRoot()).system_info.sysinfo == original.system_info.sysinfo


@pytest.mark.parametrize(
    "path", ["/proc/cpuinfo", "//proc/./cmdline", "/sys/class/net", "/dev/sda", "/etc/mtab"]
)
def test_files_of_the_machine_that_builds_are_refused(path: str) -> None:
    with pytest.raises(Refused, match="check it on a node"):
        _ = host_of(LocalRoot()).file(path).exists


@pytest.mark.parametrize("path", ["/proc", "/proc/self/status", "/dev/null", "/sys", "/process", "/develop"])
def test_files_that_are_the_same_everywhere_are_not_refused(path: str) -> None:
    host_of(LocalRoot()).file(path).exists  # noqa: B018


def grep_says(tmp: Path, pattern: str) -> bool | None:
    done = LocalRoot().run(["grep", "-qs", "--", pattern, str(tmp)], exit_codes=())
    return {0: True, 1: False}.get(done.exit_code)


LINES = st.lists(st.text("ab1 .*[]^$\\-+=:x\t", max_size=6), max_size=4).map("\n".join)


@settings(max_examples=150, deadline=None)
@given(
    content=LINES,
    pattern=st.one_of(
        st.text("ab1.*^$\\+?[]-: ", max_size=6),
        st.sampled_from(
            [
                "[[:space:]]*a",
                "[^:]:",
                "[:a]",
                "[a:]*",
                "[:]",
                "^[^a]",
                "[]a]",
                "[^]]$",
                "[a-b]*1",
                "[0-9]\\+",
                "a\\?$",
                "^$",
                "",
                "a.*b",
            ]
        ),
    ),
)
def test_a_translated_expression_matches_what_grep_matches(
    tmp_path_factory: pytest.TempPathFactory, content: str, pattern: str
) -> None:
    expression = grep.translate(pattern)
    if expression is None:
        return
    file = tmp_path_factory.getbasetemp() / "grepped"
    file.write_text(content)
    assert grep.matches(expression, content.encode()) == grep_says(file, pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"\(a\)*",
        r"a\|b",
        r"a\{2\}",
        r"\<a",
        r"\1",
        "a\nb",
        "*a",
        "a**",
        "ü",
        "[[.a.]]",
        "[z-a]",
        "[:a:]",
        "[^:space:]",
    ],
)
def test_an_expression_that_is_not_certain_is_left_to_grep(pattern: str) -> None:
    assert grep.translate(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    ["num_vfs=16", r"^options mlx4_core .*num_vfs=16", r"vif_driver *= *mlnxvif\.vif", "[[:digit:]]$"],
)
def test_an_everyday_expression_needs_no_grep(pattern: str) -> None:
    assert grep.translate(pattern) is not None
