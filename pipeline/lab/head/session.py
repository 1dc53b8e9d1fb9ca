"""A session of cmsh: where it is, what it changed and did not commit, and how a command is carried out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from pipeline.lab.head.errors import CommandError, DisconnectedError
from pipeline.lab.head.grammar import Command, parse
from pipeline.lab.head.instances import SINGLE
from pipeline.lab.head.kinds import HAS_FILE_MODIFICATIONS, KINDS, MODES, Kind, Property
from pipeline.lab.head.objects import Object, blank
from pipeline.lab.head.output import Output
from pipeline.lab.head.state import Store
from pipeline.lab.head.switches import Faults, Switches
from pipeline.lab.head.wordings import PROPERTY, UNKNOWN, unknown_command

MOVING = frozenset({"use", "add", "clone", "assign"})
"""Commands after which a mode that stood in front of them is kept."""


class Level(NamedTuple):
    """A mode, and the object in it that is used, if any."""

    mode: str
    kind: Kind
    name: str = ""


class Draft:
    """A top-level object that was changed and not committed. ``base`` is None for a new one, ``now`` None for
    one that is removed. ``source`` is the image whose tree it is to get."""

    def __init__(self, base: Object | None, now: Object | None, source: str = "") -> None:
        self.base = base
        self.now = now
        self.source = source
        self.delete_data = False


class Call(NamedTuple):
    """A verb's words behind it, and its block."""

    verb: str
    words: list[str]
    block: tuple[Command, ...] | None


Verb = Callable[["Session", Call], None]


class Session:
    """``quit_on_error`` is ``-q``; ``failed`` says whether a command was refused, ``lost`` whether the daemon
    is gone. ``counts`` is how many nodes use what, during one command. ``after`` is what goes on in the
    background when the session ends."""

    def __init__(
        self, store: Store, switches: Switches, faults: Faults, out: Output, verbs: Mapping[str, Verb]
    ) -> None:
        self.store = store
        self.faults = faults
        self.after: list[Callable[[], object]] = []
        self.switches = switches
        self.out = out
        self.verbs = verbs
        self.levels: list[Level] = []
        self.drafts: dict[tuple[str, str], Draft] = {}
        self.formats: dict[str, str] = {}
        self.counts: dict[str, dict[str, int]] = {}
        self.quit_on_error = False
        self.lost = False
        self.failed = False

    # commands

    def line(self, text: str) -> bool:
        """Carry out a line; whether to go on."""
        try:
            commands = parse(text)
        except CommandError as error:
            return self.refuse(str(error))
        return all(self.attempt(command) for command in commands)

    def attempt(self, command: Command) -> bool:
        """Carry out a command and say what is wrong; whether to go on."""
        if self.lost:
            return self.refuse("Not connected!")
        self.counts.clear()
        try:
            self._piped(command)
        except DisconnectedError:
            self.lost = True
            return self.refuse("CMMain::verifyAPI, rpc: Couldn't connect to server.\nNot connected!")
        except CommandError as error:
            return self.refuse(str(error))
        return True

    def refuse(self, text: str) -> bool:
        self.failed = True
        self.out.error(text)
        return not self.quit_on_error

    def _piped(self, command: Command) -> None:
        if command.shell:
            self.out.shell(command.shell, self.store.root)
        elif command.tail:
            self.out.begin_tail()
            try:
                self.execute(list(command.words), command.block)
            finally:
                self.out.end_tail(command.tail, self.store.root)
        else:
            self.execute(list(command.words), command.block)

    def execute(self, words: list[str], block: tuple[Command, ...] | None) -> None:
        """A command, or modes in front of one. A mode alone is entered; in front of a command it holds for
        that one, but stays when the command goes into an object."""
        if self._goes_along(words):
            return
        word, *rest = words
        levels = self._entered(word)
        if levels is None:
            self._verb(Call(word, rest, block))
            return
        before, self.levels = self.levels, levels
        if not rest:
            return
        try:
            self.execute(rest, block)
        except Exception:
            self.levels = before
            raise
        if not any(one in MOVING for one in self._verb_of(rest)):
            self.levels = before

    def _verb_of(self, words: list[str]) -> list[str]:
        return [word for word in words if word in self.verbs][:1]

    def _entered(self, word: str) -> list[Level] | None:
        """Where the mode ``word`` leads; None when it is no mode here."""
        if word in MODES:
            return [Level(word, KINDS[word])]
        if not self.levels or not self.levels[-1].name:
            return None
        kind = self.levels[-1].kind.submodes.get(word)
        if kind is None or (word == SINGLE and self.current["type"] != "VirtualNode"):
            return None
        return [*self.levels, Level(word, KINDS[kind], SINGLE if word == SINGLE else "")]

    def _goes_along(self, words: list[str]) -> bool:
        """The seed types ``device use node001`` in one device's services, and is in the other's services."""
        inside = len(self.levels) == 2 and self.levels[0].mode == words[0]
        if not inside or len(words) != 3 or words[1] != "use":
            return False
        name = self.alias(words[2])
        self.need(words[0], name)
        self.levels = [self.levels[0]._replace(name=name), self.levels[1]._replace(name="")]
        return True

    def _verb(self, call: Call) -> None:
        verb = self.verbs.get(call.verb)
        if verb is None:
            raise CommandError(unknown_command(call.verb))
        if call.block is not None and call.verb != "foreach":
            raise CommandError("Syntax error: unexpected (")
        verb(self, call)

    # places

    @property
    def level(self) -> Level:
        """Where the session is. Raises ``CommandError`` at the top, where there are no objects."""
        if not self.levels:
            raise CommandError("Not in a mode")
        return self.levels[-1]

    @contextmanager
    def at(self, levels: list[Level]) -> Iterator[None]:
        """Be elsewhere for a while."""
        before, self.levels = self.levels, levels
        try:
            yield
        finally:
            self.levels = before

    @property
    def current(self) -> Object:
        """The object that is used. Raises ``CommandError`` when none is."""
        if not self.level.name:
            raise CommandError("No object selected")
        one = self.find(self.level.name)
        if one is None:
            raise CommandError(
                UNKNOWN[self.switches.wording].format(kind=self.level.kind.title, name=self.level.name)
            )
        return one

    def names(self) -> list[str]:
        """The objects of this mode, those that are not committed too."""
        if len(self.levels) > 1:
            with self.at(self.levels[:-1]):
                owner = self.current
            return list(owner["sub"].get(self.level.mode, {}))
        return self.top_names(self.level.mode)

    def top_names(self, mode: str) -> list[str]:
        gone = {name for (of, name), draft in self.drafts.items() if of == mode and draft.now is None}
        new = [name for (of, name), draft in self.drafts.items() if of == mode and draft.base is None]
        kept = [name for name in self.store.state["objects"][mode] if name not in gone]
        return kept + [name for name in new if name not in self.store.state["objects"][mode]]

    def find(self, name: str) -> Object | None:
        """The object of this mode, as this session changed it."""
        mode = self.level.mode
        if len(self.levels) == 1:
            return self.top(mode, self.alias(name))
        with self.at(self.levels[:-1]):
            objects = self.current["sub"].get(mode, {})
        return objects.get(name) or (blank("VirtualNodeSettings") if mode == SINGLE else None)

    def top(self, mode: str, name: str) -> Object | None:
        draft = self.drafts.get((mode, name))
        return draft.now if draft else self.store.state["objects"][mode].get(name)

    def need(self, mode: str, name: str) -> Object:
        """A top-level object. Raises ``CommandError`` in the release's words."""
        one = self.top(mode, name)
        if one is None:
            raise self.unknown(KINDS[mode].title, name)
        return one

    def unknown(self, kind: str, name: str) -> CommandError:
        return CommandError(UNKNOWN[self.switches.wording].format(kind=kind, name=name))

    def alias(self, name: str) -> str:
        """The head node is called master as well."""
        if name != "master" or (self.levels[:1] and self.levels[0].mode != "device"):
            return name
        return head_name(self.store)

    # changing

    def draft(self) -> Draft:
        """The draft of the top-level object that is used, made if need be."""
        mode, name = self.levels[0].mode, self.levels[0].name
        if (mode, name) not in self.drafts:
            base = self.store.state["objects"][mode].get(name)
            self.drafts[(mode, name)] = Draft(base, copy.deepcopy(base))
        return self.drafts[(mode, name)]

    def editable(self) -> Object:
        """The object that is used, to be changed."""
        one = self.draft().now
        for level in self.levels[1:]:
            if one is None or not level.name:
                break
            below = one["sub"].setdefault(level.mode, {})
            if level.mode == SINGLE:
                below.setdefault(SINGLE, blank("VirtualNodeSettings"))
            one = below.get(level.name)
        if one is None:
            raise self.unknown(self.level.kind.title, self.level.name)
        return one

    def container(self) -> dict[str, Object]:
        """The objects of this submode, to be changed."""
        with self.at(self.levels[:-1]):
            owner = self.editable()
        return owner["sub"].setdefault(self.level.mode, {})

    def property(self, word: str, one: Object) -> Property:
        """The property that is called so. Raises ``CommandError``."""
        name = word.lower()
        names = {"nextinstallmethod": "nextinstallmode"} if self.switches.release == "old" else {}
        hidden = set(names.values())
        prop = self.level.kind.properties.get(names.get(name, name))
        wrong = (
            prop is None
            or name in self.faults.unknown_properties
            or name in hidden
            or (name == "configfilemodifications" and one["type"] not in HAS_FILE_MODIFICATIONS)
        )
        if prop is None or wrong:
            raise CommandError(PROPERTY[self.switches.wording].format(kind=self.level.kind.title, name=word))
        return prop


def head_name(store: Store) -> str:
    """What the head node is called itself."""
    for name, one in store.state["objects"]["device"].items():
        if one["type"] == "HeadNode":
            return name
    return "master"
