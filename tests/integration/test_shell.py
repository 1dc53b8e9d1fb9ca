"""``pipeline shell``: on a terminal, without one, in a version and in a stage that failed."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.chroot.enter import enter
from pipeline.chroot.root import RootSpec
from pipeline.cli.shell import ON_TERMINAL
from pipeline.store.garbage import Needs, garbage
from pipeline.store.records import Failure
from pipeline.store.store import Store, layer_name
from tests.small_store import add_version, commit_layer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 20.0

INTERACTIVE = """
import sys
from pathlib import Path
from pipeline.chroot.enter import run_interactively
from pipeline.chroot.root import RootSpec
sys.exit(run_interactively(RootSpec((Path(sys.argv[1]),)), sys.argv[2:], "vt100"))
"""


@dataclass
class Terminal:
    """A program on a terminal, as a person has it."""

    pid: int
    side: int
    shown: str = ""

    def until(self, pattern: str) -> str:
        """Wait until ``pattern`` has been shown; returns what was shown since the last time."""
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.shown):
            assert select.select([self.side], [], [], max(0.0, end - time.monotonic()))[0], self.shown
            self.shown += os.read(self.side, 4096).decode()
        shown, self.shown = self.shown, ""
        return shown

    def type(self, text: str) -> None:
        """Type, and look meanwhile at what is shown, as terminals do."""
        rest = text.encode()
        while rest:
            readable, writable, _ = select.select([self.side], [self.side], [], PATIENCE)
            assert readable or writable, self.shown
            if readable:
                self.shown += os.read(self.side, 4096).decode()
            elif writable:
                rest = rest[os.write(self.side, rest[:100]) :]

    def end(self) -> int:
        try:
            while select.select([self.side], [], [], PATIENCE)[0]:
                self.shown += os.read(self.side, 4096).decode()
            pytest.fail(f"still running; last shown: {self.shown!r}")
        except OSError:  # the other side is closed
            pass
        os.close(self.side)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def on_terminal(*words: str) -> Terminal:
    pid, side = pty.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = str(REPOSITORY)
        os.execv(sys.executable, [sys.executable, *words])
    termios.tcsetwinsize(side, (33, 99))
    return Terminal(pid, side)


@pytest.fixture
def base(lab_images: Mapping[str, Path]) -> Path:
    return lab_images["openstack-image"]


BASH = ("/bin/bash", "--norc", "-i")


def test_a_shell_has_prompt_job_control_and_a_terminal_of_its_own(base: Path) -> None:
    terminal = on_terminal("-c", INTERACTIVE, str(base), *BASH)
    assert "job control" not in terminal.until(r"\[root@image /\]# ")
    terminal.type("tty; stty size; sleep 1003 & jobs\n")
    shown = terminal.until(r"Running.*\n")
    assert "/dev/pts/0" in shown and "33 99" in shown
    terminal.type("sh -c 'echo go$((1+1)); exec sleep 1004'\n")
    terminal.until("go2")
    terminal.type("\x1a")
    terminal.until(r"Stopped[^#]*# ")
    terminal.type("exec sh -c 'exit 5'\n")
    assert terminal.end() == 5


def test_the_shell_of_an_image_without_bash_has_a_prompt_in_its_own_words(tmp_path: Path) -> None:
    dash = shutil.which("dash")
    if dash is None:
        pytest.skip("no dash here")
    said = subprocess.run(["ldd", dash], capture_output=True, text=True, check=True).stdout
    for path in [word for word in said.split() if word.startswith("/")]:
        (tmp_path / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / path.lstrip("/"))
    (tmp_path / "bin").mkdir(exist_ok=True)
    shutil.copy(dash, tmp_path / "bin/sh")
    terminal = on_terminal("-c", INTERACTIVE, str(tmp_path), *ON_TERMINAL)
    terminal.until(r"\[root@image /\]# ")
    terminal.type("cd /bin\n")
    terminal.until(r"\[root@image /bin\]# ")
    terminal.type("exit 5\n")
    assert terminal.end() == 5


def test_control_c_ends_the_program_and_not_the_shell(base: Path) -> None:
    terminal = on_terminal("-c", INTERACTIVE, str(base), *BASH)
    terminal.until("# ")
    terminal.type("sh -c 'echo go$((1+1)); exec sleep 1005'\n")
    terminal.until("go2")
    terminal.type("\x03")
    terminal.until("# ")
    terminal.type("echo still $((3+4))\n")
    terminal.until(r"still 7\s[^#]*# ")  # not before: the end of a line that nobody reads yet is lost
    terminal.type("\x04")
    assert terminal.end() in (0, 130)


def test_the_terminal_is_left_as_it_was_found(base: Path) -> None:
    ask = "import termios; print(termios.tcgetattr(0)[:4])\n"
    program = ask + INTERACTIVE.replace("sys.exit(", "code = (") + ask + "print('code', code)\n"
    terminal = on_terminal("-c", program, str(base), "/bin/sh", "-c", "stty raw -echo; kill -9 $$")
    first, *_, last, code = terminal.until(r"code \d+\r\n").replace("\r", "").strip().splitlines()
    assert (first, code) == (last, "code 137")
    assert terminal.end() == 0


def test_much_pasted_text_arrives_while_much_is_shown(base: Path) -> None:
    terminal = on_terminal("-c", INTERACTIVE, str(base), *BASH)
    terminal.until("# ")
    lines = 400
    for number in range(lines):
        terminal.type(f"echo {'x' * 100} $(({number}+100000))\n")
    terminal.until(f"{lines - 1 + 100000}")
    terminal.type("exit\n")
    assert terminal.end() == 0


def piped(base: Path, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", INTERACTIVE, str(base), *words],
        input=given, capture_output=True, text=True, cwd=REPOSITORY,
    )  # fmt: skip


def test_without_a_terminal_commands_come_from_stdin(base: Path) -> None:
    done = piped(base, "/bin/sh", given="uname -r; cat /proc/net/dev; echo oops >&2; exit 9\n")
    assert done.stdout.startswith("2.6.32-431.el6.x86_64\n") and done.stdout.count(":") == 1
    assert (done.stderr, done.returncode) == ("oops\n", 9)


def test_without_a_terminal_there_is_none_to_type_into(base: Path) -> None:
    assert piped(base, "/bin/sh", "-c", "exec 3</dev/tty").returncode != 0


@dataclass
class Site:
    """A site with a version ``x@1`` of one layer and a stage of it that failed."""

    store: Store
    file: Path

    def shell(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipeline", "--site", str(self.file), "shell", *words],
            input=given, capture_output=True, text=True, cwd=REPOSITORY,
        )  # fmt: skip


@pytest.fixture
def site(tmp_path: Path, base: Path) -> Site:
    (tmp_path / "recipes").mkdir()
    file = tmp_path / "pipeline.toml"
    file.write_text(f'[site]\nstore = "{tmp_path}/store"\nimages = "{tmp_path}/images"\n')
    store = Store.open(tmp_path / "store")
    name = hashlib.sha256(b"base").hexdigest()[:20]
    (store.path / "layers" / name).mkdir()
    (store.path / "layers" / name / "tree").symlink_to(base)
    work = store.begin()
    with work:
        with enter(RootSpec((base,), upper=work.upper, work=work.work)) as root:
            root.run(["/bin/sh", "-c", "echo half > /root/half"])
        failure = Failure(
            image="x", stage="broken", key="0" * 64, layers=(name,), message="it failed", when=time.time()
        )
        store.fail(work, failure)
    return Site(store, file)


def test_a_failed_stage_is_entered_as_it_was_left_and_keeps_changes(site: Site) -> None:
    done = site.shell("x", "--stage", "broken", given="cat /root/half; hostname; echo more > /root/more\n")
    assert (done.stdout, done.stderr, done.returncode) == ("half\nx\n", "", 0)
    assert site.shell("x", "--stage", "broken", "--", "cat", "/root/more").stdout == "more\n"
    assert site.shell("x", "--stage", "broken", "--", "sh", "-c", "exit 6").returncode == 6


def test_without_the_stage_that_failed_its_name_is_told(site: Site) -> None:
    (base,) = (site.store.path / "layers").iterdir()
    copied = commit_layer(
        site.store,
        "1" * 64,
        lambda root: shutil.copytree(base / "tree", root, symlinks=True, dirs_exist_ok=True),
    )
    add_version(site.store, [layer_name(copied.key)], image="x")
    done = site.shell("x", "--", "cat", "/root/half")
    assert done.returncode != 0
    assert done.stderr.startswith("note: this is not the stage 'broken', in which the last build failed; ")
    assert "to enter that one: pipeline shell x --stage broken\n" in done.stderr
    assert "note" not in site.shell("x@1", "--", "true").stderr
    site.store.forget_failure("x")
    assert "note" not in site.shell("x", "--", "true").stderr


def test_what_cannot_be_entered_is_said(site: Site) -> None:
    for words in (["nosuch"], ["x"], ["x@7"], ["x", "--stage", "other"]):
        done = site.shell(*words)
        assert done.returncode in (1, 2) and "pipeline: " in done.stderr, done
        assert "Traceback" not in done.stderr and "defect" not in done.stderr
    done = site.shell("x", "--stage", "broken", "--", "nosuch")
    assert done.returncode == 127 and "nosuch: no such program in the image" in done.stderr
    done = site.shell("x", "--stage", "broken", "--", "bad\udcff\n")
    assert r"bad\xff" in done.stderr and r"\udcff" not in done.stderr


def test_a_shell_without_root_says_why(site: Site) -> None:
    words = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-m", "pipeline"]
    for verb in (["shell", "x"], ["build"]):
        done = subprocess.run(
            [*words, "--site", str(site.file), *verb], capture_output=True, text=True, cwd=REPOSITORY
        )
        if "Permission denied" in done.stderr and "pipeline:" not in done.stderr:
            pytest.skip("this checkout cannot be read by others")
        assert done.returncode in (2, 3), done


@contextmanager
def standing(site: Site) -> Iterator[subprocess.Popen[str]]:
    """A shell in the failed stage that waits for what it is given."""
    words = [sys.executable, "-m", "pipeline", "--site", str(site.file), "shell", "x", "--stage", "broken"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        try:
            assert said(process, "echo in; echo mine > /root/mine") == "in\n"
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{text}\n")
    process.stdin.flush()
    return process.stdout.readline()


def is_whole(process: subprocess.Popen[str]) -> bool:
    return said(process, "uname -r") == "2.6.32-431.el6.x86_64\n" and said(process, LOOK) == "mine\n"


LOOK = "cat /root/mine"


def test_a_second_shell_in_a_failed_stage_is_refused_and_the_first_stays_whole(site: Site) -> None:
    with standing(site) as first:
        second = site.shell("x", "--stage", "broken", "--", "true")
        assert second.returncode == 1 and "somebody is in it" in second.stderr, second
        assert is_whole(first)
        assert said(first, "service x start; exit").startswith("service x start: not done")
        assert first.wait(PATIENCE) == 0
    assert site.shell("x", "--stage", "broken", "--", "cat", "/root/mine").stdout == "mine\n"


def swept(site: Site) -> None:
    """Sweep until nothing is left: a shell that was killed ends a little later than its first process."""
    end = time.monotonic() + PATIENCE
    while os.listdir(site.store.path / "work"):
        assert time.monotonic() < end
        Store.open(site.store.path)


def failed_again(site: Site) -> None:
    with site.store.begin() as work:
        failure = Failure(image="x", stage="broken", key="1" * 64, layers=(), message="again", when=2.0)
        site.store.fail(work, failure)


@pytest.mark.parametrize("how", ["forgotten", "failed again"])
def test_a_shell_in_a_failed_stage_outlives_the_next_build(site: Site, how: str) -> None:
    with standing(site) as shell:
        if how == "forgotten":
            site.store.forget_failure("x")
        else:
            failed_again(site)
        now = site.store.failed("x")
        assert (now.failure.message if now else None) == (None if how == "forgotten" else "again")
        Store.open(site.store.path)  # sweeps
        assert is_whole(shell)
        assert len(os.listdir(site.store.path / "work")) == 1
        assert said(shell, "echo end; exit") == "end\n"
        assert shell.wait(PATIENCE) == 0
    swept(site)


def test_layers_below_a_shell_whose_stage_is_forgotten_stay(site: Site) -> None:
    base = site.store.layers()
    nothing: frozenset[str] = frozenset()
    needs = Needs(versions=(), bases=nothing, downloads=nothing, partials=nothing, seen=nothing)
    with standing(site):
        site.store.forget_failure("x")
        assert [each.name for each in garbage(site.store, needs) if each.kind == "layer"] == []
    swept(site)
    assert [each.name for each in garbage(site.store, needs) if each.kind == "layer"] == [*base]


def test_nothing_of_the_stand_ins_is_left_in_a_failed_stage(site: Site) -> None:
    site.shell("x", "--stage", "broken", "--", "true")
    kept = site.store.failed("x")
    assert kept is not None
    assert sorted(os.listdir(kept.upper.parent)) == ["failure.json", "log.txt", "upper", "work"]
