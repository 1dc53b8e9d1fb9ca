"""The stage type ``command``: run a program of the image, and see that it did what it was run for."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from pipeline.chroot.judging import MOST_QUOTED, Judge, Matching
from pipeline.chroot.root import ENOUGH_FOR_ERRORS, CommandError, Root
from pipeline.errors import PipelineError, Problem
from pipeline.packaging.programs import SEARCHED, meaning, why_not_runnable
from pipeline.stages.base import Inputs, Stage
from pipeline.templates import spelled

SHELL = ("/bin/sh", "-e", "-c")
MOST_SEARCHED = 4 << 20
"""Bytes of the end of what a required program prints in which its ``stdout`` is looked for."""


class Tolerated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Output that looks like trouble and is none: a regular expression, and why it is expected."""

    pattern: str
    because: str


class Requirement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must hold afterwards: exactly one of a program (argv), shell text (shell) and a file."""

    argv: tuple[str, ...] = ()
    shell: str | None = None
    file: str | None = None
    exit_codes: tuple[int, ...] = (0,)
    stdout: str | None = None
    contains: str | None = None


class Command(Stage, frozen=True, kw_only=True, tag="command"):
    """Run a program of the image, with the image as its root directory.

        [[stage]]
        name = "ofed"
        type = "command"
        cwd = "/opt/MLNX_OFED_LINUX-2.3-1.0.1-rhel6.5-x86_64"
        argv = ["./mlnxofedinstall", "--without-fw-update"]
        stdin = "y"
        fail_on = ["^Error: "]
        logs = ["/tmp/MLNX_OFED_LINUX.*.logs/*.log"]

        [[stage.tolerate]]
        pattern = "Failed to update Firmware"
        because = "an image has no HCA; firmware is updated on the nodes"

        [[stage.require]]
        argv = ["ofed_info", "-s"]
        stdout = "^MLNX_OFED_LINUX-2.3-1.0.1:"

        [[stage.require]]
        file = "/lib/modules/2.6.32-431.el6.x86_64/modules.dep"
        contains = "mlx4_core.ko"

    argv        the program and its arguments, taken as they are
    shell       or a text for /bin/sh, which ends at the first command that fails (-e)
    cwd         where it runs (default: /)
    env         environment variables, in addition to a clean environment; the checks of require get them too
    stdin       what it can read (default: nothing)
    exit_codes  those that mean success (default: [0])
    fail_on     regular expressions: a line of output that matches one is a failure, whatever the exit code
    tolerate    lines that match a `pattern` are expected: they are reported, with `because`, and no failure
                for fail_on. That one never appears is reported, too. Exit codes are not its matter.
    require     checks afterwards; every one is made, and all that fail are told:
                  argv or shell, with exit_codes (default [0]) and stdout (a regular expression that must be
                  found in what is printed); or file, with contains (a regular expression)
    logs        globs of files in the image whose text goes to the log of the stage, also when it fails
    network     whether it may reach the network (default: no). What it fetches is pinned by nothing.

    A parameter in a shell text is put in as it is, and the shell reads it: `echo {{ name }}` with the name
    "a; reboot" is two commands. Unless it is meant so, hand it over as a word of argv, which no shell reads,
    or as a variable, between double quotes:

        shell = 'echo "$NAME" >/etc/name'
        env = { NAME = "{{ name }}" }

    Regular expressions are Python's; `^` and `$` match at each line. A line of over 65,536 characters is
    taken as several. stdout of require is looked for in the last 4 MB of what is printed.
    """

    argv: tuple[str, ...] = ()
    shell: str | None = None
    cwd: str = "/"
    env: Mapping[str, str | int | float | bool] = msgspec.field(default_factory=dict)
    stdin: str = ""
    exit_codes: tuple[int, ...] = (0,)
    fail_on: tuple[str, ...] = ()
    tolerate: tuple[Tolerated, ...] = ()
    require: tuple[Requirement, ...] = ()
    logs: tuple[str, ...] = ()
    network: bool = False

    def check(self) -> tuple[tuple[str, str], ...]:
        """Not exactly one program, bad patterns, paths that are not absolute."""
        found = []
        if bool(self.argv) == (self.shell is not None):
            found.append(("argv", "exactly one of argv and shell is needed"))
        if self.argv and not self.argv[0]:
            found.append(("argv", "the name of the program is empty"))
        if self.shell is not None and not self.shell.strip():
            found.append(("shell", "there is nothing in it"))
        if not self.cwd.startswith("/"):
            found.append(("cwd", f"{self.cwd!r} is not absolute"))
        if not self.exit_codes:
            found.append(("exit_codes", "none would mean success"))
        found += [
            ("exit_codes", f"{code} is no exit code: they go from 0 to 255")
            for code in self.exit_codes
            if not 0 <= code <= 255
        ]
        found += [("env", f"{name!r} is no name") for name in self.env if not name or "=" in name]
        found += [("logs", f"{path!r} is not absolute") for path in self.logs if not path.startswith("/")]
        found += _bad_patterns("fail_on", self.fail_on)
        found += _bad_patterns("tolerate", (tolerated.pattern for tolerated in self.tolerate))
        found += [
            ("tolerate", f"{tolerated.pattern!r}: because is empty; say why it is expected")
            for tolerated in self.tolerate
            if not tolerated.because.strip()
        ]
        for number, requirement in enumerate(self.require, 1):
            found += [("require", f"number {number}: {message}") for message in _wrong_with(requirement)]
        return tuple(found)

    @property
    def _env(self) -> dict[str, str]:
        return {name: spelled(value) for name, value in self.env.items()}

    def wants_network(self) -> bool:
        """As the recipe says."""
        return self.network

    def run(self, root: Root, inputs: Inputs) -> None:
        """Run it, judge its output, then check what is required."""
        del inputs
        argv = self.argv or (*SHELL, self.shell or "")
        search = self._env.get("PATH", SEARCHED)
        if why := root.call(why_not_runnable, argv[0], self.cwd, search):
            raise PipelineError(f"{argv[0]} cannot be run: {why}")
        if self.network:
            root.note("the network is on: what this stage fetches is pinned by nothing")
        problems: list[Problem] = []
        judge = Judge([tolerated.pattern for tolerated in self.tolerate], self.fail_on)
        try:
            root.run(
                argv,
                cwd=self.cwd,
                env=self._env,
                stdin=self.stdin.encode(),
                exit_codes=self.exit_codes,
                most=ENOUGH_FOR_ERRORS,
                on_lines=judge.hear,
            )
        except CommandError as error:
            problems.append(replace(error.problems[0], hint=meaning(error.finished.exit_code)))
        self._show_logs(root)
        self._report_tolerated(root, judge.expected)
        problems += judge.problems()
        if problems:
            raise PipelineError(problems)
        self._check_requirements(root)

    def _show_logs(self, root: Root) -> None:
        for pattern in self.logs:
            paths = root.call(files_of, pattern)
            if not paths:
                root.note(f"logs: no file matches {pattern}")
            for path in paths:
                root.run(["cat", path], exit_codes=(), most=ENOUGH_FOR_ERRORS)

    def _report_tolerated(self, root: Root, seen: Sequence[Matching]) -> None:
        for tolerated, matching in zip(self.tolerate, seen, strict=True):
            if not matching.count:
                root.note(f"expected but not seen: {tolerated.pattern!r} ({tolerated.because})")
            for _, line in matching.first:
                root.note(f"expected: {line!r} ({tolerated.because})")
            if matching.count > MOST_QUOTED:
                root.note(f"expected: {matching.count - MOST_QUOTED} more lines like these")

    def _check_requirements(self, root: Root) -> None:
        failed = [
            Problem(f"required, but does not hold: {message}")
            for requirement in self.require
            if (message := self._unmet(root, requirement))
        ]
        if failed:
            raise PipelineError(failed)

    def _unmet(self, root: Root, requirement: Requirement) -> str | None:
        if requirement.file is not None:
            return root.call(why_file_differs, requirement.file, requirement.contains)
        argv = requirement.argv or (*SHELL, requirement.shell or "")
        if why := root.call(why_not_runnable, argv[0], "/", self._env.get("PATH", SEARCHED)):
            return f"{argv[0]} cannot be run: {why}"
        try:
            finished = root.run(
                argv,
                env=self._env,
                exit_codes=requirement.exit_codes,
                separate=True,
                most=ENOUGH_FOR_ERRORS if requirement.stdout is None else MOST_SEARCHED,
            )
        except CommandError as error:
            return error.problems[0].message
        if requirement.stdout is not None and not re.search(requirement.stdout, finished.text, re.MULTILINE):
            shown = CommandError(finished, (0,)).problems[0].message
            looked_at = f"in the last {MOST_SEARCHED >> 20} MB " if finished.left_out else ""
            return f"nothing {looked_at}that it printed matches {requirement.stdout!r}: {shown}"
        return None


def files_of(pattern: str) -> list[str]:
    """The regular files that match a glob. Meant for the inside of a chroot."""
    return sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))


def why_file_differs(path: str, contains: str | None) -> str | None:
    """Why ``path`` is not what is required, or None. Meant for the inside of a chroot."""
    if not os.path.exists(path):
        return f"{path} does not exist"
    if contains is None:
        return None
    if not os.path.isfile(path):
        return f"{path} is no regular file"
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    if re.search(contains, text, re.MULTILINE):
        return None
    return f"nothing in {path} matches {contains!r} ({len(text.splitlines())} lines)"


def _bad_patterns(option: str, patterns: Iterable[str]) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            yield option, f"{pattern!r} is no regular expression: {error}"


def _wrong_with(requirement: Requirement) -> Iterator[str]:
    given = [bool(requirement.argv), requirement.shell is not None, requirement.file is not None]
    if sum(given) != 1:
        yield "exactly one of argv, shell and file is needed"
    if requirement.file is None and requirement.contains is not None:
        yield "contains goes with file"
    if requirement.file is not None:
        if not requirement.file.startswith("/"):
            yield f"file: {requirement.file!r} is not absolute"
        if requirement.stdout is not None or requirement.exit_codes != (0,):
            yield "stdout and exit_codes go with argv or shell"
    elif not requirement.exit_codes:
        yield "exit_codes: none would mean success"
    for option in ("stdout", "contains"):
        pattern = getattr(requirement, option)
        for _, message in _bad_patterns(option, [pattern] if pattern is not None else []):
            yield f"{option}: {message}"
