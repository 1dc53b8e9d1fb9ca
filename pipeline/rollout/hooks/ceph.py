"""Hosts with OSDs: one at a time, only while the others have all data, and with noout while it is away.

The trap in it: noout itself makes the health HEALTH_WARN. So afterwards it waits for the OSDs and the
placement groups, takes its noout back, and asks for HEALTH_OK only then. noout that was there before stays.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pipeline.cluster.head import Head
from pipeline.cluster.rollout_written import CephTable
from pipeline.errors import PipelineError
from pipeline.rollout.hooks.asking import (
    asked,
    failed,
    findings,
    is_away,
    last_words,
    not_understood,
    side_by_side,
    told,
)
from pipeline.rollout.hooks.cephstate import FORMAT, Look, is_unknown, look
from pipeline.rollout.hooks.kept import Kept, Note
from pipeline.rollout.model import Finding, Node
from pipeline.rollout.parts import Answer

WAYS = (("set-group", "unset-group"), ("add-noout", "rm-noout"), ("set", "unset"))
"""noout of some OSDs: since Nautilus, since Luminous; before, there is only one for all."""

MAY_STOP = "are ok to stop without reducing availability"
"""What releases before 14.2.22 say, on either of the two outputs, of OSDs that may be stopped."""

LEFT = "left"
"""The note of a host that stays as it is, without noout: others may go, and it may have its turn again."""


class Ceph:
    """Ceph's side of a rollout; ``folder`` is where it notes what it has set, the same for all rollouts.

    A note says by which rollout (``by``), what it found: OSDs that were up (``up``), those that were free of
    noout (``free``) and whether all were (``everywhere``); and the ``way`` in which noout was set since.
    """

    name = "ceph"

    def __init__(self, table: CephTable, head: Head, folder: Path, reason: str = "") -> None:
        self._table = table
        self._head = head
        self._reason = reason
        self._kept = Kept(folder / "ceph.json")

    def applies(self, node: Node) -> bool:
        return bool(node.osds)

    def find(self, nodes: Sequence[Node]) -> Sequence[Finding]:
        try:
            now = self._look()
            may = side_by_side([node.name for node in nodes], self._asking(nodes))
        except PipelineError as error:
            return findings(error, "Ceph can't be asked")
        told = [*self._left(nodes), *self._held(nodes), *_as_findings(now, nodes, self._table.accept)]
        if any(answer is None for answer, _ in may.values()):
            told.append(
                Finding(
                    "warning",
                    'this release of Ceph has no "osd ok-to-stop"',
                    hint="hosts with OSDs go one at a time, each when all OSDs are up and all data is clean",
                )
            )
        if not told:
            told += [
                Finding("error", f"Ceph can't do without its OSDs: {why}", name)
                for name, (answer, why) in may.items()
                if answer is False
            ]
        return told

    def _left(self, nodes: Sequence[Node]) -> list[Finding]:
        """Hosts that an earlier rollout, or another one now, has not released."""
        mine = {node.name for node in nodes}
        return [
            Finding(
                "error",
                "another rollout has not taken its noout back; no other host with OSDs can go",
                name,
                f"roll it back, or see that its OSDs are up, and take it out of {self._kept.file}",
                shlex.join(self._undoing(found)),
            )
            for name, found in sorted(self._away().items())
            if name not in mine
        ]

    def _held(self, nodes: Sequence[Node]) -> list[Finding]:
        """Hosts of this rollout that an earlier one has not released, and for which others would wait."""
        mine = {node.name for node in nodes if node.osds}
        held = {name: note for name, note in self._away().items() if note.get("by") != self._reason}
        return [
            Finding(
                "error",
                "another rollout has taken it and not released it; no other host with OSDs can go before it",
                name,
                "take it to the version, or back, before the others",
                f"pipeline rollout start {self._kept.file.parent.parent.name} --nodes {name}",
            )
            for name in sorted(mine & held.keys())
            if len(mine) > 1
        ]

    def steps(self, node: Node) -> tuple[str, ...]:
        osds = _named(node.osds)
        return (
            "wait until all OSDs are up, all placement groups active+clean, and no other such host is away",
            shlex.join(self._ok_to_stop(node)),
            shlex.join(self._osd("set-group", "noout", *osds)),
            f"after: wait until {', '.join(osds)} are up and every placement group active+clean",
            f"after: {shlex.join(self._osd('unset-group', 'noout', *osds))}",
            "after: wait for HEALTH_OK",
        )

    def before(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        # From who is away until it is noted who goes: others would find as much, and go as well.
        with self._kept.turn() as is_mine:
            if not is_mine:
                why = "hosts with OSDs go one at a time: another rollout asks Ceph for one at this moment"
                return {node.name: Answer("wait", why) for node in nodes}
            return self._in_turn(nodes)

    def _in_turn(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        now, begun = self._look(), self._away()
        answers: dict[str, Answer] = {}
        for node in nodes:
            others = sorted(begun.keys() - {node.name})
            if others and not _is_down(node, now):
                answers[node.name] = Answer("wait", f"hosts with OSDs go one at a time: {others[0]} is away")
                continue
            answers[node.name] = self._before(node, now)
            begun = self._away()
        return answers

    def _before(self, node: Node, now: Look) -> Answer:
        noted = self._kept.read().get(node.name, {})
        why, notes = self._against(node, now, bool(noted) and noted.get("by") == self._reason)
        if why:
            return Answer("wait", why)
        way = self._set(node, {**self._first(node, noted, now), "by": self._reason})
        if way == WAYS[-1]:
            notes += ("this release of Ceph has noout for all OSDs only: it is set for all",)
        return Answer("done", notes=notes)

    def _first(self, node: Node, noted: Note, now: Look) -> Note:
        """What there was before any rollout set noout that is still there, also when it is asked again."""
        if not noted:
            return _found(node, now)
        if noted.get("way") != LEFT:
            return noted
        mine = noted.get("by") == self._reason
        return {**_found(node, now), **({"up": noted["up"]} if mine else {})}

    def _against(self, node: Node, now: Look, is_taken: bool) -> tuple[str, tuple[str, ...]]:
        """Why a host may not go at this moment ("": it may), and what there is to know.

        What a host that this rollout has taken already lacks itself keeps nobody: it may be on its way back
        with an OSD, or a monitor, that didn't come up.
        """
        if strange := sorted(set(node.osds) - now.known):
            return f"Ceph doesn't list {', '.join(_named(strange))}", ()
        if _is_down(node, now):
            return "", ("its OSDs are down already",)
        down = now.inside - now.up
        lacks_its_own = is_taken and bool(down) and down <= set(node.osds)
        ills = [now.not_whole()] if is_taken else [why for why, _ in _ills(now, self._table.accept)]
        if ills and ills[0] and not lacks_its_own:
            return f"Ceph: {ills[0]}", ()
        may, why = self._may_stop(node)
        if may is False:
            return f"Ceph can't do without its OSDs: {why}", ()
        if may is None and lacks_its_own:
            return f"Ceph: {now.not_whole()}, and this release can't tell whether more may be stopped", ()
        return "", ("this release of Ceph can't tell whether OSDs may be stopped",) if may is None else ()

    def after(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        begun = self._away()
        mine = [node for node in nodes if node.name in begun]
        answers = {node.name: Answer("done") for node in nodes}
        if not mine:
            return answers
        now = self._look()
        for node in mine:
            answers[node.name] = self._back(node, begun[node.name], now)
        back = [node for node in mine if answers[node.name].state == "done"]
        if back:
            now = self._look()
        for node in back:
            answers[node.name] = self._released(node, begun[node.name], now)
        return answers

    def leave(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        """Without noout Ceph takes OSDs that stay down out after a while, and makes new copies elsewhere."""
        begun = self._away()
        answers = {node.name: Answer("done") for node in nodes}
        for name in answers.keys() & begun.keys():
            try:
                self._unset(begun[name])
            except PipelineError as error:
                if is_away(error):
                    raise
                stays = f"noout stays until this is run: {shlex.join(self._undoing(begun[name]))}"
                answers[name] = Answer("wait", f"{stays}; {told(error)}")
                continue
            # Stopped here: it is taken back once more, which does no harm.
            self._kept.put({name: {**begun[name], "way": LEFT}})
            notes = ("its noout is taken back: Ceph copies what was on OSDs that stay down",)
            answers[name] = Answer("done", notes=notes)
        return answers

    def _back(self, node: Node, found: Note, now: Look) -> Answer:
        """Wait for its OSDs and the data; then take noout back."""
        down = sorted(set(_numbers(found, "up")) - now.up)
        why = f"{', '.join(_named(down))} not up" if down else now.not_whole()
        if why:
            undoing = shlex.join(self._undoing(found))
            left = f"; noout stays until then ({undoing})" if undoing else ""
            return Answer("wait", f"Ceph: {why}{left}")
        self._unset(found)
        return Answer("done")

    def _released(self, node: Node, found: Note, now: Look) -> Answer:
        """Only without noout of its own does the health mean anything."""
        still = sorted(set(_numbers(found, "free")) & now.noout)
        if still:
            return Answer("wait", f"Ceph: {', '.join(_named(still))} still with noout")
        ills = _ills(now, self._table.accept)
        if ills:
            return Answer("wait", f"Ceph: {ills[0][0]}")
        self._kept.put({node.name: None})
        return Answer("done")

    def _away(self) -> dict[str, Note]:
        """The hosts that were taken and not released, but for those that were left as they are."""
        return {name: found for name, found in self._kept.read().items() if found.get("way") != LEFT}

    def _look(self) -> Look:
        return look(self._head, self._table.program)

    def _asking(self, nodes: Sequence[Node]) -> Callable[[str], tuple[bool | None, str]]:
        named = {node.name: node for node in nodes}
        return lambda name: self._may_stop(named[name])

    def _may_stop(self, node: Node) -> tuple[bool | None, str]:
        """Whether all OSDs of a node may be stopped, and why not; None: this release can't tell.

        The JSON is there although it ends with an error; releases before 14.2.22 say it in plain words.
        Raises ``PipelineError`` for any other answer: a service that is not well may answer anything.
        """
        argv = self._ok_to_stop(node)
        ran = asked(self._head, argv)
        said = _verdict(ran.out)
        if said is not None and said["ok_to_stop"] is False:
            return False, f"{said.get('num_not_ok_pgs', 'some')} placement groups would not be available"
        if not ran.code and (said is not None or MAY_STOP in f"{ran.out}\n{ran.err}"):
            return True, ""
        if ran.code and is_unknown(ran):
            return None, ""
        if not ran.code:
            raise not_understood(self._head, argv, ran.out.strip() or ran.err)
        if "EBUSY" not in ran.err:
            raise failed(self._head, argv, ran)
        return False, last_words(ran)

    def _set(self, node: Node, found: Note) -> tuple[str, str]:
        """noout for the node's OSDs, in the narrowest way that the release has; noted before."""
        for way in WAYS:
            self._kept.put({node.name: {**found, "way": way[0]}})
            # Stopped here: it is not set, and will be taken back all the same.
            argv = self._osd(way[0], *_arguments(way[0], node.osds))
            ran = asked(self._head, argv)
            if not ran.code:
                return way
            if not is_unknown(ran):
                raise failed(self._head, argv, ran)
        raise failed(self._head, argv, ran)

    def _unset(self, found: Note) -> None:
        """Take back what this rollout set, in the way in which it was set; what was there before stays."""
        argv = self._undoing(found)
        if not argv:
            return
        ran = asked(self._head, argv)
        if ran.code and not is_unknown(ran):  # a way that the release doesn't have has set nothing
            raise failed(self._head, argv, ran)

    def _undoing(self, found: Note) -> tuple[str, ...]:
        """The command that takes noout back; () when there is nothing to take back."""
        free, verbs = _numbers(found, "free"), dict(WAYS)
        verb = verbs.get(str(found.get("way")), "")
        is_needed = found.get("everywhere") if verb == "unset" else verb and free
        return self._osd(verb, *_arguments(verb, free)) if is_needed else ()

    def _ok_to_stop(self, node: Node) -> tuple[str, ...]:
        return self._osd("ok-to-stop", *map(str, node.osds), *FORMAT)

    def _osd(self, *words: str) -> tuple[str, ...]:
        return (*self._table.program, "osd", *words)


def _verdict(text: str) -> dict[str, Any] | None:
    """The JSON of ``ok-to-stop``; None when it is something else."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and isinstance(said.get("ok_to_stop"), bool) else None


def _found(node: Node, now: Look) -> Note:
    """What there is before: which OSDs are up, which are free of noout, and whether all are."""
    return {
        "up": sorted(set(node.osds) & now.up),
        "free": sorted(set(node.osds) - now.noout),
        "everywhere": "noout" not in now.everywhere,
    }


def _numbers(found: Note, name: str) -> list[int]:
    numbers = found.get(name)
    return numbers if isinstance(numbers, list) else []


def _ills(now: Look, accept: Sequence[str]) -> list[tuple[str, str]]:
    """What is wrong with it, and what to do about it."""
    found = []
    if why := now.not_whole():
        found.append((why, "look at: ceph health detail"))
    if why := now.unwell(accept):
        found.append((why, "put it right, or name the check in accept of [rollout.ceph]"))
    return found


def _as_findings(now: Look, nodes: Sequence[Node], accept: Sequence[str]) -> list[Finding]:
    """A host that is down already needs no leave to go: then what is wrong may be no more than that."""
    gone = {number for node in nodes if _is_down(node, now) for number in node.osds}
    down = now.inside - now.up
    severity: Literal["error", "warning"] = "warning" if down and down <= gone else "error"
    return [Finding(severity, f"Ceph: {why}", hint=hint) for why, hint in _ills(now, accept)]


def _is_down(node: Node, now: Look) -> bool:
    return not set(node.osds) & now.up


def _arguments(verb: str, osds: Sequence[int]) -> tuple[str, ...]:
    """``set-group noout osd.0``, ``add-noout osd.0``, ``set noout``."""
    if verb.endswith("-noout"):
        return tuple(_named(osds))
    return ("noout", *_named(osds)) if verb.endswith("-group") else ("noout",)


def _named(osds: Sequence[int]) -> list[str]:
    return [f"osd.{number}" for number in osds]
