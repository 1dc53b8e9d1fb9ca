"""The command: a module for each verb that parses, calls and prints."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from gc import set_threshold
from importlib import import_module
from typing import NoReturn

from pipeline import interrupts
from pipeline.cli.early import Parser, print_problems
from pipeline.errors import PipelineError, Problem

VERBS = {
    "build": "build images, test them and publish them",
    "lock": "resolve packages and sources anew and write recipe.lock",
    "plan": "say which stages would run, and touch nothing",
    "explain": "say why a stage would run again",
    "verify": "run a version's tests",
    "sign": "sign a version that has passed its tests",
    "versions": "list the versions of images",
    "show": "all about one version",
    "diff": "what differs between two versions",
    "shell": "enter a version, or the stage that failed",
    "publish": "make a version appear as a directory, or mount all again after a reboot",
    "unpublish": "take a version's directory away",
    "rollback": "publish the previous version again",
    "fsck": "check every layer, version and download against its digests",
    "gc": "remove layers and downloads that nothing needs",
    "doctor": "say what this machine lacks, and the fix",
    "stages": "the manual of the stage types",
    "schema": "the JSON Schema of recipes, fragments, cluster files and the site file",
    "cluster": "the cluster manager's side: plan, apply, import, tasks on live nodes",
    "rollout": "nodes to a version in a safe order, verified, and back",
    "lab": "the cluster in a box: build it, or say where it is",
}
"""Each is a module of this package, imported only when it is asked for."""

GARBAGE_AFTER = 50_000
"""Objects made until the next look for garbage in cycles: at 700 that takes a tenth of a short verb."""

BROKEN_PIPE = 141

WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EAGAIN}
"""Errors of write(2), which names no file: what this program prints is all that it writes without saying."""


def run() -> NoReturn:
    """The command ``pipeline``."""
    # Where the caller ignores the ends of children, this process would too, and could wait for none.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        code = main()
    except KeyboardInterrupt as error:  # once more, while the first one or an error was told
        code = interrupts.exit_code(error)
    leave(code)


def leave(code: int) -> NoReturn:
    """End this process without taking the interpreter apart first: that takes a tenth of a short verb."""
    with suppress(OSError, ValueError):  # closed, or full: told before where it matters
        sys.stderr.flush()
        sys.stdout.flush()
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; an error is printed, never raised."""
    _open_closed()
    words = list(sys.argv[1:] if argv is None else argv)
    # argparse gives up on what follows "--" when an option stands before it.
    end = words.index("--") if "--" in words else len(words)
    words, command = words[:end], words[end + 1 :]
    verb, result = _verb(words), False
    set_threshold(GARBAGE_AFTER)
    try:
        if verb not in VERBS:
            return _help(words)
        module = import_module(f"pipeline.cli.{verb}")
        parser = Parser(prog="pipeline", allow_abbrev=False)
        parser.words = words
        _common(parser)
        options = parser.add_subparsers(dest="verb", required=True).add_parser(
            verb, help=VERBS[verb], description=module.__doc__, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        options.words = words
        _common(options, suppress=True)
        module.arguments(options)
        parser.verb = options
        if command and verb != "shell":
            options.error("only pipeline shell takes a command after --")
        code: int = module.run(parser.parse_args(words, argparse.Namespace(command=command)))
        result = True
        sys.stdout.flush()
        if argv is None:
            # What comes now is only the end of the interpreter: a late Ctrl-C is no error any more.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except PipelineError as error:
        return _tell(words, error)
    except KeyboardInterrupt as error:
        return _tell_interruption([] if result else words, interrupts.exit_code(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    except OSError as error:
        foreseen = _of_system(error)
        return _tell_defect(words, error) if foreseen is None else _tell(words, foreseen)
    except Exception as error:
        return _tell_defect(words, error)
    return code


def _of_system(error: OSError) -> PipelineError | None:
    """What is said of an error of the system; None for one that names no file and is none of writing."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return PipelineError("the working directory is gone", hint="change to one that is there (cd)")
    from pipeline.store.filesystem import what_to_do

    hint, reason = what_to_do(error), error.strerror or str(error)
    where = error.filename or ("the output" if error.errno in WRITING else None)
    if where is None:
        return None if hint is None else PipelineError(reason, hint=hint)
    return PipelineError(f"{where}: {reason}", hint=hint)


def _open_closed() -> None:
    """Have what the caller closed (``2>&-``) lead nowhere, also for programs that are started: else the next
    file that is opened, such as one of the store, would be what they write their complaints to."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(number, True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for the rest of this process
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _verb(words: Sequence[str]) -> str | None:
    """The first word that is no option and not the file of ``--site``."""
    rest = iter(words)
    for word in rest:
        if word == "--site":
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return None


def _common(parser: argparse.ArgumentParser, *, suppress: bool = False) -> None:
    """Options of every verb, accepted before and after it."""
    default = argparse.SUPPRESS if suppress else None
    parser.add_argument(
        "--site",
        metavar="FILE",
        default=default,
        help="the site file (default: pipeline.toml, here or above)",
    )


def _help(words: Sequence[str]) -> int:
    parser = Parser(
        prog="pipeline",
        allow_abbrev=False,
        description="Build, test, version and publish the software images of a cluster.",
        epilog="pipeline VERB --help tells more. Exit codes: 0 done, 1 the work failed, 2 wrong input, "
        "3 this machine lacks something, 4 the lock is stale, 5 not verified, 130 interrupted.",
    )
    parser.words = words
    _common(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, summary in VERBS.items():
        verbs.add_parser(name, help=summary)
    parser.parse_args(list(words))
    return 0


def _tell_defect(words: Sequence[str], error: Exception) -> int:
    """Something that nobody foresaw: said in one line, with what a developer needs in a file beside."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="pipeline-defect-", suffix=".txt", delete=False) as file:
        file.write(" ".join(["pipeline", *sys.argv[1:]]) + "\n" + "".join(traceback.format_exception(error)))
    return _tell(
        words,
        PipelineError(
            f"a defect of this program: {type(error).__name__}: {error}",
            hint=f"what was done until then is not known here; please report it with {file.name}",
        ),
    )


def _tell_interruption(words: Sequence[str], code: int) -> int:
    print(f"\n{interrupts.WHAT}; {interrupts.THEN}", file=sys.stderr)
    print_problems(words, [Problem(interrupts.WHAT, hint=interrupts.THEN)])
    return code


def _tell(words: Sequence[str], error: PipelineError) -> int:
    for problem in error.problems:
        print(f"pipeline: {problem}", file=sys.stderr)
    print_problems(words, error.problems)
    return error.exit_code
