"""A site's own programs, run on the head node."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from pipeline.cluster.head import NOT_FOUND, Head, Ran
from pipeline.cluster.nodesets import folded
from pipeline.cluster.rollout_written import CommandTable
from pipeline.errors import MachineError, PipelineError
from pipeline.rollout.hooks.asking import answered, findings, last_words, side_by_side, some
from pipeline.rollout.hooks.kept import Kept
from pipeline.rollout.hooks.only import Only
from pipeline.rollout.model import Finding, Node
from pipeline.rollout.parts import Answer

NOT_YET = 75
"""EX_TEMPFAIL of sysexits.h."""

SECONDS = 300.0

LOOK = 'for each in "$0" "$@"; do command -v "$each" > /dev/null || echo "$each"; done'
"""For a shell: those of its arguments that are no programs."""


class Command:
    """One table of ``[[rollout.command]]``; ``folder`` is where it notes for which nodes it was run."""

    def __init__(self, table: CommandTable, head: Head, only: Only, reason: str, folder: Path) -> None:
        self.name = table.name
        self._table = table
        self._head = head
        self._only = only
        self._reason = reason
        self._kept = Kept(folder / f"command-{quote(table.name, safe='')}.json")

    def applies(self, node: Node) -> bool:
        return self._only.has(node) or self._kept.had(node.name)

    def find(self, nodes: Sequence[Node]) -> Sequence[Finding]:
        argv = self._argv(self._table.find, [node.name for node in nodes])
        try:
            if missing := self._missing():
                what = f'the command "{self.name}": no program {some(missing)}'
                hint = "the site file's [head] says where its programs are"
                return [Finding("error", what, self._head.label, hint, unasked=True)]
            if not self._table.find or not nodes:
                return []
            ran = self._run(argv)
        except PipelineError as error:
            return findings(error, f'the command "{self.name}" can\'t be run')
        if not ran.code:
            return []
        what = f'the command "{self.name}" says no: {last_words(ran)}'
        return [Finding("error", what, self._head.label, command=shlex.join(argv))]

    def steps(self, node: Node) -> tuple[str, ...]:
        told = []
        table = self._table
        for prefix, argv in (("", table.before), ("after: ", table.after), ("if it fails: ", table.leave)):
            if argv:
                told.append(f"{prefix}{shlex.join(self._argv(argv, [node.name]))}")
        return tuple(told)

    def before(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        begun = self._kept.read()
        fresh = [node.name for node in nodes if node.name not in begun]
        if fresh and self._table.before:
            self._kept.put({name: {} for name in fresh})
        return self._asked(self._table.before, nodes)

    def after(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        answers = self._asked(self._table.after, nodes)
        ended = self._kept.read().keys() & {name for name, one in answers.items() if one.state == "done"}
        if ended:
            self._kept.put(dict.fromkeys(ended))
        return answers

    def leave(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        return self._asked(self._table.leave, nodes)

    def _asked(self, argv: Sequence[str], nodes: Sequence[Node]) -> Mapping[str, Answer]:
        names = [node.name for node in nodes]
        if not argv or not names:
            return dict.fromkeys(names, Answer("done"))
        if self._table.each:
            return side_by_side(names, lambda name: self._answer(self._argv(argv, [name])))
        return dict.fromkeys(names, self._answer(self._argv(argv, names)))

    def _answer(self, argv: Sequence[str]) -> Answer:
        ran = self._run(argv)
        if not ran.code:
            return Answer("done")
        said = f"{self.name}: {last_words(ran)}"
        return Answer("wait" if ran.code == NOT_YET else "no", said)

    def _missing(self) -> list[str]:
        """Its programs that are not on the head node."""
        table = self._table
        programs = dict.fromkeys(
            argv[0] for argv in (table.find, table.before, table.after, table.leave) if argv
        )
        return answered(self._head, ("sh", "-c", LOOK, *programs)).splitlines() if programs else []

    def _run(self, argv: Sequence[str]) -> Ran:
        ran = self._head.run(argv, seconds=SECONDS)
        if ran.code == NOT_FOUND:
            raise MachineError(
                f"the command {self.name!r} can't be run: {last_words(ran)}",
                where=self._head.label,
                hint="the site file's [head] says where its programs are",
                command=shlex.join(argv),
            )
        return ran

    def _argv(self, argv: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
        """By env(1), which is there on either side of ssh."""
        variables = [f"ROLLOUT_NODES={folded(names)}", f"ROLLOUT_REASON={self._reason}"]
        if self._table.each and len(names) == 1:
            variables.append(f"ROLLOUT_NODE={names[0]}")
        return ("env", *variables, *argv)
