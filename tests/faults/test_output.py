"""What is printed: one document, plain lines, a live view; also when it fails, is cut off or interrupted."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.site import Site, add_shell, command_stage, file_stage, until

SHOW_CURSOR, HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"
MOST_MEMORY_KB = 250_000
FAILS = command_stage("bad", "echo these are its words; exit 3")


def test_json_is_one_document_on_stdout_also_when_a_stage_fails(site: Site) -> None:
    add_shell(site.base)
    site.recipe(file_stage("good"), FAILS)
    ended = site.run("build", "--json")
    assert ended.exit_code == 1
    [image] = ended.json()["images"]
    assert [stage["name"] for stage in image["stages"]] == ["good"]
    assert image["version"] is None and image["exit_code"] == 1
    [problem] = image["problems"]
    assert "these are its words" in problem["message"]
    assert problem["where"].startswith("recipes/web/recipe.toml:")
    assert problem["command"] == "pipeline shell web --stage bad"
    assert "pipeline: web: " in ended.err


@pytest.mark.parametrize("words", [("build", "--json"), ("lock", "--json")])
def test_json_of_a_wrong_recipe_is_one_document(site: Site, words: tuple[str, ...]) -> None:
    site.recipe(file_stage("a").replace("path", "pat"))
    ended = site.run(*words)
    assert ended.exit_code == 2
    document = ended.json()
    assert document["images"] == []
    assert any('unknown option "pat"' in problem["message"] for problem in document["problems"])
    assert all(problem["where"].startswith("recipes/web/recipe.toml:") for problem in document["problems"])


def test_elsewhere_than_on_a_terminal_progress_is_plain_lines_on_stderr(site: Site) -> None:
    site.recipe(file_stage("a"))
    ended = site.run("build")
    assert "\x1b" not in ended.err + ended.out
    assert "web: a: running" in ended.err.splitlines()
    assert "web: version 1" in ended.err.splitlines()
    assert "running" not in ended.out


def test_a_failed_command_shows_its_words_its_exit_code_and_the_way_in(site: Site) -> None:
    add_shell(site.base)
    site.recipe(FAILS)
    ended = site.run("build")
    assert ended.exit_code == 1
    assert f'{site.line("[[stage]]")}: stage "bad": ' in ended.err
    assert "these are its words" in ended.err
    assert "exit code 3" in ended.err
    assert "run: pipeline shell web --stage bad" in ended.err
    inside = site.run("shell", "web", "--stage", "bad", "--", "cat", "/etc/passwd")
    assert inside.exit_code == 0
    assert inside.out.startswith("root:")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_whoever_stops_reading_does_not_break_the_store(site: Site, stream: str) -> None:
    add_shell(site.base)
    site.recipe(file_stage("a"), command_stage("b", "sleep 0.3"), file_stage("c"))
    reader, writer = os.pipe()
    os.close(reader)
    pipes: dict[str, Any] = {stream: writer}
    process = site.start("build", **pipes)
    os.close(writer)
    _, err = process.communicate(timeout=30)
    assert "Traceback" not in (err or "") and "a defect" not in (err or "")
    assert process.returncode == 141
    assert site.run("build").exit_code == 0


def test_output_that_nobody_can_read_as_utf_8_does_not_break_a_build(site: Site) -> None:
    add_shell(site.base)
    site.recipe(command_stage("bytes", "cat /etc/bytes"))
    (site.base / "etc/bytes").write_bytes(b"\xff\xfe\x00\x1b[31m\n" + b"x" * 300_000 + b"\n")
    ended = site.run("build", "-v")
    assert ended.exit_code == 0, ended.err
    site.recipe(command_stage("bytes", "cat /etc/bytes; exit 1"))
    ended = site.run("build", "--json")
    assert ended.exit_code == 1
    assert ended.json()["images"][0]["problems"]


MEASURED = """
import resource, subprocess, sys
ended = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(ended.returncode)
"""
"""A process between: what this one takes up would count for one that it forks, whatever program that runs."""


def test_a_stage_may_print_without_end(site: Site) -> None:
    add_shell(site.base)
    (site.base / "etc/words").write_text(f"{'a' * 42}\n" * 20_000 + "Error: seen\n")
    times = " ".join(map(str, range(120)))
    prints = command_stage("prints", f"for i in {times}; do cat /etc/words; done", 'fail_on = ["^Error"]\n')
    site.recipe(prints, '[[stage.tolerate]]\npattern = "seen$"\nbecause = "it is"\n')
    process = site.start("build", before=[sys.executable, "-c", MEASURED], stdout=subprocess.DEVNULL)
    told = process.communicate()[1]
    assert process.returncode == 0
    assert int(told.splitlines()[-1]) < MOST_MEMORY_KB
    logs = (site.store / "layers").glob("*/log.txt")
    log = max(logs, key=lambda path: path.stat().st_size).read_text()
    assert log.count("\n") > 120 * 20_001
    assert "note: expected: 110 more lines like these" in log


@dataclass
class Terminal:
    """A command on a terminal of its own; ``seen`` is all that it has written to it."""

    process: subprocess.Popen[str]
    controller: int
    seen: bytes = b""

    def read(self, seconds: float) -> bool:
        """Take in what has come; whether there may be more."""
        ready, _, _ = select.select([self.controller], [], [], seconds)
        if not ready:
            return True
        try:
            piece = os.read(self.controller, 1 << 16)
        except OSError:
            return False
        self.seen += piece
        return bool(piece)

    def sees(self, words: bytes) -> bool:
        self.read(0.05)
        return words in self.seen

    def end(self) -> int:
        """Read to the end; returns the exit code."""
        while self.read(0.05) and self.process.poll() is None:
            pass
        self.process.wait(timeout=30)
        while select.select([self.controller], [], [], 0)[0] and self.read(0):
            pass
        return self.process.returncode


def on_terminal(site: Site, *words: str) -> Terminal:
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 120))
    before = {"TERM": "xterm-256color"}
    process = site.start(
        *words,
        before=("env", *(f"{name}={value}" for name, value in before.items()), "setsid", "--ctty", "--wait"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    return Terminal(process, controller)


def test_on_a_terminal_the_live_view_ends_cleanly_with_the_table_after_it(site: Site) -> None:
    add_shell(site.base)
    site.recipe(file_stage("first"), command_stage("second", "sleep 0.5"))
    terminal = on_terminal(site, "build")
    assert terminal.end() == 0, terminal.seen
    assert HIDE_CURSOR in terminal.seen and SHOW_CURSOR in terminal.seen
    assert terminal.seen.rindex(SHOW_CURSOR) > terminal.seen.rindex(HIDE_CURSOR)
    after = terminal.seen[terminal.seen.rindex(SHOW_CURSOR) :].decode()
    for word in ("stage", "first", "second", "ran", "published: "):
        assert word in after
    live = terminal.seen[: terminal.seen.rindex(SHOW_CURSOR)].decode()
    assert "web" in live and "second" in live and "version 1" in live


def test_on_a_terminal_a_failure_leaves_the_view_and_its_words(site: Site) -> None:
    add_shell(site.base)
    site.recipe(file_stage("first"), FAILS)
    terminal = on_terminal(site, "build")
    assert terminal.end() == 1
    after = terminal.seen[terminal.seen.rindex(SHOW_CURSOR) :].decode()
    assert "these are its words" in after
    assert "pipeline shell web --stage bad" in after


def test_ctrl_c_on_a_terminal_ends_soon_and_gives_the_cursor_back(site: Site) -> None:
    add_shell(site.base)
    site.recipe(file_stage("first"), command_stage("second", "sleep 30"))
    terminal = on_terminal(site, "build")
    until(lambda: terminal.sees(b"second") and "first" in site.layers(), "the second stage runs")
    os.write(terminal.controller, b"\x03")
    assert terminal.end() == 130
    assert terminal.seen.rindex(SHOW_CURSOR) > terminal.seen.rindex(HIDE_CURSOR)
    assert b"interrupted; finished stages are kept" in terminal.seen
    site.check_whole()


def test_plain_lines_can_be_asked_for_on_a_terminal(site: Site) -> None:
    site.recipe(file_stage("first"))
    terminal = on_terminal(site, "build", "--plain")
    assert terminal.end() == 0
    assert b"\x1b" not in terminal.seen
    assert b"web: first: running" in terminal.seen


@pytest.mark.parametrize("words", [[], ["--json"]], ids=["lines", "json"])
def test_an_interrupt_from_another_process_is_as_good_as_ctrl_c(site: Site, words: list[str]) -> None:
    add_shell(site.base)
    site.recipe(file_stage("first"), command_stage("second", "sleep 30"))
    process = site.start("build", *words)
    until(lambda: "first" in site.layers(), "the first stage is done")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)  # half of what the stage would take
    assert process.returncode == 130
    assert "interrupted; finished stages are kept" in err
    if words:
        assert json.loads(out)["problems"][0]["message"] == "interrupted"


def test_ctrl_c_while_the_command_starts_is_no_traceback_and_no_crash(site: Site) -> None:
    site.recipe(file_stage("first"))
    assert site.run("build").exit_code == 0
    began = time.monotonic()
    site.run("build")
    whole = time.monotonic() - began
    wrong = []
    for number in range(40):
        process = site.start("build")
        time.sleep(whole * number / 40)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        # Python itself starts until its first line is ours, and dies of it in its own way.
        before_us = process.returncode in (1, -signal.SIGINT) and "/pipeline/" not in err
        if (process.returncode not in (0, 130) and not before_us) or "a defect" in err:
            wrong.append((process.returncode, err))
    assert not wrong
    site.check_whole()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_the_caller_closed_do_not_matter(site: Site, closed: str) -> None:
    add_shell(site.base)
    site.recipe(file_stage("first"), command_stage("second", "echo words; echo words >&2"))
    shell = ("sh", "-c", f'exec "$@" {closed}', "sh")
    process = site.start("build", before=shell)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert "Traceback" not in out + err
    assert (site.images / "web").is_dir()
    process = site.start("show", "nothing", before=shell)
    process.communicate(timeout=60)
    assert process.returncode == 2
    site.check_whole()


def test_a_caller_that_is_deaf_to_its_children_does_not_matter(site: Site) -> None:
    add_shell(site.base)
    site.recipe(file_stage("first"), command_stage("second", "/bin/cat /etc/passwd"))
    deaf = ("bash", "-c", "trap '' CHLD; exec \"$@\"", "bash")
    built = site.run("build", before=deaf)
    assert built.exit_code == 0, built.err
    assert site.run("doctor", before=deaf).exit_code in (0, 3)  # as without it: what this machine lacks


def test_a_working_directory_that_is_gone_is_named(site: Site) -> None:
    site.recipe(file_stage("a"))
    inside = site.write("gone/file", "").parent
    script = f'cd {inside} && rm -r {inside} && exec "$@"'
    ended = site.run("build", "--site", str(site.path / "pipeline.toml"), before=("sh", "-c", script, "sh"))
    assert ended.exit_code == 1
    assert "the working directory is gone" in ended.err
