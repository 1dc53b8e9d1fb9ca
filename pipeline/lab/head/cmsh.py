"""The program ``cmsh``: its options, where its commands come from, and what it ends with."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.lab.head.effects import end_dead_copies
from pipeline.lab.head.errors import CommandError, Quit
from pipeline.lab.head.kinds import KINDS
from pipeline.lab.head.output import Output
from pipeline.lab.head.session import Session, head_name
from pipeline.lab.head.simulation import settle
from pipeline.lab.head.state import Store, calls, record_call
from pipeline.lab.head.switches import Faults, Switches, read_faults, read_switches
from pipeline.lab.head.values import stored, typed
from pipeline.lab.head.verbs import VERBS
from pipeline.lab.head.wordings import illegal_option

RC_FILE = "/root/.cm/cmsh/.cmshrc"
NOT_CONNECTED = 1
LETTERS = {"n": "", "Q": "", "x": "", "q": "", "c": "value", "f": "value", "i": "value", "k": "value"}
WORDS = {
    "hide-events": "",
    "disable-events": "",
    "color": "value",
    "command": "value",
    "file": "value",
    "norc": "",
}
SAME = {"command": "c", "file": "f", "norc": "n"}


class Options(NamedTuple):
    """Letters and words with their values, and the address."""

    given: Mapping[str, str]
    address: str = ""


def main(directory: str) -> int:
    """``cmsh`` with the arguments of this process, on the head node in ``directory``."""
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    switches, faults = read_switches(directory), read_faults(directory)
    try:
        options = _options(sys.argv[1:])
    except CommandError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    time.sleep(faults.latency)
    store = Store(directory)
    if _is_elsewhere(options.address, store):
        return _not_connected("Couldn't resolve host name.")
    if faults.unreachable:
        return _not_connected("Couldn't connect to server.")
    text, wrong = _text(options, switches)
    record_call(directory, sys.argv[1:], text)
    if wrong:
        sys.stderr.write(f"{wrong}\n")
        return 1
    session = _session(store, switches, faults, options)
    _somebody_else(session, directory)
    settle(store, switches, faults)
    end_dead_copies(store)
    _run(session, options, text)
    sys.stdout.flush()
    for background in session.after:
        background()
    if session.lost:
        return NOT_CONNECTED
    return switches.failure_code if session.failed else 0


def _not_connected(why: str) -> int:
    sys.stderr.write(f"CMMain::verifyAPI, rpc: {why}\nNot connected!\n")
    return NOT_CONNECTED


def _options(argv: list[str]) -> Options:
    given: dict[str, str] = {}
    address = ""
    words = iter(argv)
    for word in words:
        if word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            if name not in WORDS or (has_value and not WORDS[name]):
                raise CommandError(illegal_option(name))
            given[SAME.get(name, name)] = value if has_value else _value(WORDS[name], name, words)
        elif word.startswith("-") and len(word) > 1:
            for at, letter in enumerate(word[1:], 1):
                if letter not in LETTERS:
                    raise CommandError(illegal_option(letter))
                if LETTERS[letter]:
                    given[letter] = word[at + 1 :] or _value("value", letter, words)
                    break
                given[letter] = ""
        elif address:
            raise CommandError(f"Unexpected argument: {word}")
        else:
            address = word
    if given.get("color", "no") not in ("yes", "no"):
        raise CommandError("--color takes yes or no")
    if "c" in given and "f" in given:
        raise CommandError("-c and -f don't go together")
    return Options(given, address)


def _value(takes: str, name: str, words: Iterator[str]) -> str:
    if not takes:
        return ""
    value = next(words, None)
    if value is None:
        raise CommandError(f"Option {name} takes a value")
    return value


def _is_elsewhere(address: str, store: Store) -> bool:
    host = address.rpartition(":")[0] or address
    return bool(host) and host not in ("localhost", "127.0.0.1", "master", head_name(store))


def _text(options: Options, switches: Switches) -> tuple[str, str]:
    """The commands, and what is wrong with where they come from."""
    if "c" in options.given:
        if switches.command_option != "works" and not os.isatty(0):
            return options.given["c"], "cmsh: no terminal"
        return options.given["c"], ""
    file = options.given.get("f", "-")
    if file in ("-", "/dev/stdin"):
        return ("", "") if os.isatty(0) else (sys.stdin.read(), "")
    try:
        with open(file, errors="surrogateescape") as opened:
            return opened.read(), ""
    except OSError as error:
        return "", f"Could not open {file}: {error.strerror}"


def _session(store: Store, switches: Switches, faults: Faults, options: Options) -> Session:
    hidden = bool({"hide-events", "disable-events"} & set(options.given))
    out = Output(
        events=not hidden or switches.events == "always",
        noise=switches.events == "always" or (switches.events == "mixed" and not hidden),
        color=options.given.get("color", "yes") == "yes",
        errors_to_stdout=switches.error_stream == "stdout",
    )
    session = Session(store, switches, faults, out, VERBS)
    session.quit_on_error = "q" in options.given
    return session


def _run(session: Session, options: Options, text: str) -> None:
    rc_file = f"{session.store.root}{RC_FILE}"
    try:
        if "n" not in options.given and os.path.exists(rc_file):
            with open(rc_file) as file:
                if not all(map(session.line, file.read().splitlines())):
                    return
        for line in text.split("\n") if text else _typed(session):
            if "x" in options.given and line.strip():
                session.out.line(line)
            if not session.line(line):
                return
    except Quit:
        return


def _typed(session: Session) -> Iterator[str]:
    """Lines from the terminal; nothing when there is none."""
    while os.isatty(0):
        try:
            yield input(prompt(session))
        except EOFError:
            return


def prompt(session: Session) -> str:
    """``[headnode->category*[name*]->services]% ``."""
    star = (
        "*" if session.levels and (session.levels[0].mode, session.levels[0].name) in session.drafts else ""
    )
    places = [
        f"{level.mode}{star if level.name else ''}{f'[{level.name}{star}]' if level.name else ''}"
        for level in session.levels
    ]
    return f"[{'->'.join([head_name(session.store), *places])}]% "


def _somebody_else(session: Session, directory: str) -> None:
    """Do what tests want somebody else to have done by now."""
    faults = session.faults
    for change in faults.foreign:
        if len(calls(directory)) - faults.calls == change["call"]:
            _change(session, change)


def _change(session: Session, change: Mapping[str, Any]) -> None:
    prop = KINDS[change["mode"]].properties[change["property"]]
    words = change["value"] if isinstance(change["value"], list) else [str(change["value"])]
    value = typed(prop, words, session.switches.wording, session.store.root)
    with session.store.changing() as state:
        stored(state["objects"][change["mode"]][change["object"]], prop, value)
        session.store.touch()
