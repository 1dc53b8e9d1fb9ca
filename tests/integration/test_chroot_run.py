"""Programs and functions in a root: how they end, what they print, and what is said when they cannot run."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pipeline.chroot.enter import EnteredRoot, enter
from pipeline.chroot.printed import LONGEST_LINE
from pipeline.chroot.root import CommandError, RootSpec
from pipeline.errors import MachineError, PipelineError, UnverifiedError, UsageError
from tests.integration.chroot_roots import Place

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")


@pytest.fixture
def place(tmp_path: Path, lab_images: Mapping[str, Path]) -> Place:
    return Place(lab_images["openstack-image"], tmp_path)


@pytest.fixture
def root(place: Place) -> Iterator[EnteredRoot]:
    with place.enter() as entered:
        yield entered


def sh(text: str) -> list[str]:
    return ["/bin/sh", "-c", text]


def test_an_exit_code_that_is_not_expected_is_an_error_with_the_last_lines(root: EnteredRoot) -> None:
    with pytest.raises(CommandError, match=r"(?s)exit code 7.*\| last") as caught:
        root.run(sh("echo first; echo last; exit 7"))
    assert caught.value.finished.exit_code == 7
    assert root.run(sh("exit 7"), exit_codes=(0, 7)).exit_code == 7
    with pytest.raises(CommandError, match="killed by signal 15"):
        root.run(sh("kill -TERM $$"))


def test_signals_have_their_usual_effect_on_programs(root: EnteredRoot) -> None:
    for name in ("INT", "TERM", "HUP", "PIPE", "CHLD", "XFSZ"):
        number = -getattr(signal, f"SIG{name}")
        expected = 0 if name == "CHLD" else number
        assert root.run(sh(f"kill -{name} $$; exit 0"), exit_codes=()).exit_code == expected
    assert "SigBlk:\t0000000000000000" in root.run(["cat", "/proc/self/status"]).text


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["nosuch"], 127, "nosuch: no such program in the image"),
        (["/no/such"], 127, "/no/such: no such program"),
        ([""], 127, "no such program"),
        ([], 127, "no such program"),
        (["/etc/passwd"], 126, "/etc/passwd: Permission denied"),
        (["/etc"], 126, "/etc: Is a directory"),
        (["echo", "a\0b"], 126, "null byte"),
        (["echo", "x" * (1 << 18)], 126, "Argument list too long"),
    ],
)
def test_a_program_that_cannot_run_says_why(
    root: EnteredRoot, words: list[str], code: int, reason: str
) -> None:
    finished = root.run(words, exit_codes=())
    assert finished.exit_code == code and reason in finished.text
    assert reason in root.run(words, exit_codes=(), separate=True).stderr.decode()
    assert root.run(["true"]).exit_code == 0


def test_programs_that_cannot_run_leave_nothing_open(root: EnteredRoot) -> None:
    before = root.call(os.listdir, "/proc/self/fd")
    for _ in range(20):
        root.run(["nosuch"], exit_codes=())
        root.run(["/etc/passwd"], exit_codes=(), separate=True)
    assert root.call(os.listdir, "/proc/self/fd") == before


def test_a_script_without_its_first_line_is_run_by_the_shell(place: Place) -> None:
    place.put("root/script", 'echo "got $1"\n', 0o755)
    with place.enter() as root:
        assert root.run(["/root/script", "a b"]).text == "got a b\n"


def test_a_missing_folder_is_named(root: EnteredRoot) -> None:
    with pytest.raises(CommandError, match=r"/no/folder: No such file"):
        root.run(["true"], cwd="/no/folder")
    assert root.run(["pwd"], cwd="/etc").text == "/etc\n"
    assert root.run(["pwd"]).text == "/\n"


def test_the_environment_is_clean_and_what_was_asked_for_is_added(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "of the host")
    with place.enter(epoch=5) as root:
        names = root.run(["env"], env={"MORE": "1"}).text
    assert "SECRET" not in names and "MORE=1\n" in names and "SOURCE_DATE_EPOCH=5\n" in names
    assert "LANG=C\n" in names and "HOME=/root\n" in names


def test_output_comes_line_by_line_and_whole(place: Place) -> None:
    with place.enter() as root:
        finished = root.run(sh("printf 'a\\nb'; printf c >&2"))
        assert finished.stdout == b"a\nbc"
        assert place.lines[-2:] == ["a", "bc"]
        assert root.run(sh("printf '\\377\\n'")).stdout == b"\xff\n"
        assert place.lines[-1] == "\N{REPLACEMENT CHARACTER}"


def test_stderr_is_kept_apart_when_asked(root: EnteredRoot) -> None:
    finished = root.run(sh("echo out; echo err >&2"), separate=True)
    assert (finished.stdout, finished.stderr) == (b"out\n", b"err\n")


def test_huge_output_without_a_line_end_does_not_take_long(place: Place) -> None:
    size = 64 << 20
    with place.enter() as root:
        begun = time.monotonic()
        assert len(root.run(["head", "-c", str(size), "/dev/zero"]).stdout) == size
        assert time.monotonic() - begun < 10
    pieces = place.lines[1:]
    assert sum(map(len, pieces)) == size and max(map(len, pieces)) <= 2 * LONGEST_LINE


def test_as_much_of_the_end_is_kept_as_is_wanted_and_every_line_is_heard(root: EnteredRoot) -> None:
    heard: list[str] = []
    finished = root.run(sh("seq 1 100000; seq 1 9 >&2"), separate=True, most=1000, on_lines=heard.extend)
    whole = "".join(f"{number}\n" for number in range(1, 100_001)).encode()
    assert finished.stdout == whole[-1000:] and finished.left_out == len(whole) - 1000
    assert finished.stderr == b"1\n2\n3\n4\n5\n6\n7\n8\n9\n"
    assert sorted(heard) == sorted([*whole.decode().split(), *"123456789"])


def test_a_background_process_that_holds_the_pipe_is_not_waited_for(place: Place) -> None:
    begun = time.monotonic()
    with place.enter() as root:
        assert root.run(sh("sleep 1001 & echo started")).stdout == b"started\n"
        assert root.run(sh("(while :; do echo y; done) & echo started")).stdout.startswith((b"started", b"y"))
        assert root.run(["true"]).exit_code == 0
    assert time.monotonic() - begun < 10
    assert any("sleep 1001" in note for note in place.notes)


def test_a_daemon_ends_with_the_root_and_is_noted(place: Place) -> None:
    with place.enter() as root:
        root.run(sh("(setsid sleep 1002 >/dev/null 2>&1 </dev/null &); until pgrep -x sleep; do :; done"))
    assert place.notes == ["was left running, and was ended with the stage: sleep 1002"]
    assert not running("sleep\x001002")


def running(words: str) -> list[str]:
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and words.encode() in Path("/proc", entry, "cmdline").read_bytes():
                found.append(entry)
        except OSError:
            continue
    return found


def test_a_prompt_that_reads_one_character_gets_it(root: EnteredRoot) -> None:
    text = 'read -n 1 -p "go on? " answer; echo "[$answer]"; read -n 1 answer; echo "[$answer]"'
    assert root.run(["/bin/bash", "-c", text], stdin=b"yn").text.endswith("[y]\n[n]\n")
    assert root.run(["cat"], stdin=b"x" * (3 << 20)).stdout == b"x" * (3 << 20)
    assert root.run(["cat"]).stdout == b""


def test_a_core_is_not_written_and_files_are_limited(root: EnteredRoot) -> None:
    assert root.run(sh("ulimit -c; ulimit -n; umask")).text == "0\n1024\n0022\n"


def give_back(value: object) -> object:
    """Return what was given; to be called in a root."""
    return value


def fail(kind: type[Exception], *arguments: object) -> None:
    """Raise; to be called in a root."""
    raise kind(*arguments)


def exit_all() -> None:
    """End like a program would."""
    sys.exit(3)


def import_something() -> None:
    """Import what nobody has imported: of a package that is imported, and at all."""
    import xml.dom.pulldom  # noqa: F401


def unpicklable() -> object:
    """A result that cannot be sent."""
    return lambda: None


def test_arguments_and_results_may_be_big(root: EnteredRoot) -> None:
    value = os.urandom(20 << 20)
    assert root.call(give_back, value) == value


def test_errors_of_this_program_come_back_as_they_are(root: EnteredRoot) -> None:
    for kind in (PipelineError, UsageError, MachineError, UnverifiedError):
        with pytest.raises(kind, match="broken") as caught:
            root.call(fail, kind, "broken")
        assert type(caught.value) is kind


def test_errors_of_files_come_back_with_their_path_said_once(root: EnteredRoot) -> None:
    with pytest.raises(PipelineError) as caught:
        root.call(Path("/no/such").read_text)
    assert str(caught.value) == "/no/such: No such file or directory"


def test_whatever_else_goes_wrong_in_a_function_is_told_and_the_root_stands(root: EnteredRoot) -> None:
    with pytest.raises(RuntimeError, match="KeyError"):
        root.call(fail, KeyError, "x")
    with pytest.raises(RuntimeError, match="SystemExit"):
        root.call(exit_all)
    with pytest.raises(RuntimeError, match="cannot be sent"):
        root.call(unpicklable)
    assert root.run(["true"]).exit_code == 0


def test_nothing_of_the_image_can_be_imported(place: Place) -> None:
    import xml.dom

    folder = str(Path(xml.dom.__file__).parent).lstrip("/")
    place.put(f"{folder}/pulldom.py", "open('/root/imported', 'w')\n")
    sys.modules.pop("xml.dom.pulldom", None)
    with place.enter() as root:
        with pytest.raises(RuntimeError, match=r"xml\.dom\.pulldom is not imported, and inside a root"):
            root.call(import_something)
        assert root.run(["true"]).exit_code == 0
    assert "root/imported" not in place.changed()


def test_a_root_whose_first_process_is_killed_says_so(place: Place) -> None:
    with pytest.raises(PipelineError, match="the chroot ended before its time"), place.enter() as root:
        root.call(os._exit, 3)
    with pytest.raises(PipelineError, match="the chroot ended before its time"), place.enter() as root:
        with pytest.raises(PipelineError, match="before its time"):
            root.call(os._exit, 3)
        root.run(["true"])


def test_a_segmentation_fault_without_a_vsyscall_page_is_explained(place: Place) -> None:
    maps = place.home / "maps"
    maps.write_text("7ffd0000-7ffd1000 r-xp 00000000 00:00 0 [vdso]\n")
    for text, kind in (("", CommandError), ("x", MachineError)):
        if text:
            place.put("usr/lib64/libc-2.12.so", text)
        spec = RootSpec((place.base, place.over))
        with enter(spec, maps=maps) as root, pytest.raises(PipelineError) as caught:
            root.run(sh("kill -SEGV $$"))
        assert type(caught.value) is kind, shlex.join([str(caught.value)])
    assert "vsyscall=emulate" in str(caught.value)
