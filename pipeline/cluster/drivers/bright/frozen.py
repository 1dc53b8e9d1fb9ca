"""The seed's other way for configuration files, for a CMDaemon whose roles can't change them.

On the head node the file is frozen (CMDaemon leaves it alone from then on) and edited; on nodes a block of
the finalize script does both. So CMDaemon can't put anything new into these files any more: always told.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence

from pipeline.cluster.drivers.bright import finalize
from pipeline.cluster.drivers.bright.modifications import NAME, Setting
from pipeline.cluster.drivers.bright.parse import Answer
from pipeline.cluster.drivers.bright.quote import unsafe
from pipeline.cluster.drivers.bright.read import HEAD_NAME, ask, over
from pipeline.cluster.drivers.bright.session import MODIFICATIONS_SINCE, Session, UnreachableError
from pipeline.cluster.drivers.bright.state import Owner
from pipeline.cluster.drivers.bright.steps import Problems, Step
from pipeline.cluster.drivers.bright.words import key
from pipeline.cluster.headfiles import HeadFiles, file_of
from pipeline.cluster.objects import HEAD, Assignment, Change, Properties, Ref, State, Wanted
from pipeline.errors import PipelineError, Problem
from pipeline.fileops.ini import Part, options, parse
from pipeline.fileops.settings import change as changed_ini

RESTART_SECONDS = 120.0
"""How long CMDaemon may take to answer again."""

SCRIPT = "finalizescript"


def warning(revision: int | None) -> str:
    """What the administrator has to know."""
    return (
        f"CMDaemon r{revision} is older than r{MODIFICATIONS_SINCE}, so its roles can't change files: they "
        "are frozen (FrozenFile) and edited instead, and CMDaemon no longer updates them; on nodes that "
        "happens in the finalize script, when they are next installed"
    )


def read(session: Session, wanted: Sequence[Wanted], owners: Iterable[Owner]) -> dict[Ref, Properties]:
    """The settings of ``owners``: of the head node those that are wanted, of others all in their blocks."""
    owners = tuple(owners)
    found: dict[Ref, Properties] = {}
    of_head = [item for item in wanted if item.ref.kind == "setting" and item.ref.of == str(HEAD_OWNER)]
    if of_head:
        found.update(_of_head(session, of_head))
    here = scripts(session, owners)
    wanted_of = {
        Owner.of(item.ref.of): item.ref for item in wanted if item.ref.kind == "setting" and item.make
    }
    _refuse_interpreters({owner: (ref, here.get(owner, "")) for owner, ref in wanted_of.items()})
    for owner, script in sorted(here.items()):
        for setting in finalize.kept(script):
            found[Ref("setting", setting.name, str(owner))] = setting.properties()
    return found


HEAD_OWNER = Owner("device", HEAD_NAME)

DAEMON = Ref("service", "CMDaemon", str(HEAD))
"""What is restarted when it is to leave another file alone, or one no longer."""


def is_of_head(change: Change) -> bool:
    """Whether CMDaemon may be restarted for it."""
    return change.ref.kind == "setting" and Owner.of(change.ref.of) == HEAD_OWNER


def refuse_left(session: Session, wanted: Iterable[Wanted], owners: Iterable[Owner]) -> None:
    """Raise where roles can change files, but what is left of this way would keep theirs from arriving.

    A frozen file, by whomever, is not written by CMDaemon; a block in a finalize script freezes them.
    """
    refs = [item.ref for item in wanted if item.ref.kind == "setting" and item.make]
    of_head = [ref for ref in refs if Owner.of(ref.of) == HEAD_OWNER]
    problems = []
    if of_head:
        frozen = finalize.frozen_files(_files(session, [finalize.CMD_CONF]).get(finalize.CMD_CONF, ""))
        problems += [
            Problem(
                f"{match['file']} is frozen by FrozenFile in {finalize.CMD_CONF} of the head node: CMDaemon "
                "does not write it, whatever the role has",
                str(ref),
                f"take it out of FrozenFile in {finalize.CMD_CONF}, restart CMDaemon (service cmd restart), "
                "plan again",
            )
            for ref in of_head
            if (match := NAME.match(ref.name)) and match["file"] in frozen
        ]
    here = scripts(session, set(owners) & {Owner.of(ref.of) for ref in refs})
    firsts = {Owner.of(ref.of): ref for ref in reversed(refs)}
    problems += [
        Problem(
            f"the finalize script of {owner} still has the block that was for an older CMDaemon: it freezes "
            "the files on the nodes, and the role can't change them",
            str(firsts[owner]),
            f"take out of {SCRIPT} of {owner} what stands between {finalize.BEGIN.partition(';')[0]!r} and "
            f"{finalize.END!r}, install the nodes anew and plan again",
        )
        for owner, script in sorted(here.items())
        if finalize.has_block(script)
    ]
    if problems:
        raise PipelineError(problems)


def _refuse_interpreters(found: Mapping[Owner, tuple[Ref, str]]) -> None:
    """Raise for every owner whose finalize script is no shell's; each comes with one of its settings."""
    problems = [
        Problem(
            f"the finalize script of {owner} is run by {program!r}; a block of sh can't go into it",
            str(ref),
            f"make it a script of sh or bash ({SCRIPT} of {owner}), or set this by hand",
        )
        for owner, (ref, script) in sorted(found.items())
        if (program := finalize.other_interpreter(script))
    ]
    if problems:
        raise PipelineError(problems)


def _files(session: Session, paths: Iterable[str]) -> dict[str, str]:
    state = HeadFiles(session.head).read([Wanted(file_of(path)) for path in dict.fromkeys(paths)])
    return {ref.name: str(properties["content"]) for ref, properties in state.objects.items()}


def _of_head(session: Session, wanted: Sequence[Wanted]) -> dict[Ref, Properties]:
    """A setting is there when the file has it and is frozen."""
    named = [(item, match) for item in wanted if (match := NAME.match(item.ref.name))]
    texts = _files(session, [finalize.CMD_CONF, *(match["file"] for _, match in named)])
    frozen = finalize.frozen_files(texts.get(finalize.CMD_CONF, ""))
    parts = {path: parse(text.splitlines(keepends=True)) for path, text in texts.items()}
    found: dict[Ref, Properties] = {}
    for item, match in named:
        there = options(parts.get(match["file"], ()), match["section"], match["key"])
        if there and match["file"] in frozen:
            value = "\n".join(option.value for option in there)
            found[item.ref] = {"value": value, "replaces": item.exact.get("replaces", False)}
    return found


def scripts(session: Session, owners: Iterable[Owner]) -> dict[Owner, str]:
    """The finalize scripts of categories and nodes, in one call."""
    modes: dict[str, list[str]] = {}
    for owner in sorted(set(owners) - {HEAD_OWNER}):
        modes.setdefault(owner.mode, []).append(owner.name)
    if not modes:
        return {}
    commands = []
    for mode, names in modes.items():
        named = f"get {key(mode)}"
        commands += ["home", mode, over(mode, names, (named, f"get {SCRIPT}", named))]

    def taken(answer: Answer) -> dict[Owner, str]:
        found: dict[Owner, str] = {}
        for mode, names in modes.items():
            waiting = set(names)
            while waiting:
                name = answer.name(waiting)
                waiting.discard(name)
                found[Owner(mode, name)] = answer.between(name)
        return found

    return ask(session, commands, taken, as_json=False)


def steps(session: Session, changes: Sequence[Change], sources: dict[Owner, Owner]) -> list[Step]:
    """The steps that put settings into the blocks of finalize scripts. ``sources`` are owners to be cloned.

    A text of several lines is given to cmsh as a file on the head node, which `forget` removes.
    """
    of_owner = _by_owner(changes)
    here = check(session, changes, sources)
    kept: dict[str, str] = {}
    made: list[Step] = []
    for owner, own in of_owner.items():
        script = here.get(sources.get(owner, owner), "")
        known = {setting.name: setting for setting in finalize.kept(script)}
        was = [known.get(one.ref.name, Setting(one.ref.name, None, False)) for one in own]
        new = finalize.with_settings(script, [each.changed(one) for each, one in zip(was, own, strict=True)])
        if new and new not in kept:
            kept[new] = _kept(session, new)
        commands = (f"set {SCRIPT} {kept[new]}" if new else f"clear {SCRIPT}", "commit")
        refs = tuple(change.ref for change in own)
        done = f"get {key(owner.mode)}"
        made.append(Step(owner.mode, owner.name, f"use {owner.name}", commands, done, owner.name, refs))
    return made


def check(session: Session, changes: Sequence[Change], sources: dict[Owner, Owner]) -> dict[Owner, str]:
    """The finalize scripts that changes begin with, by their owners. Raises with those that can't be used."""
    of_owner = _by_owner(changes)
    here = scripts(session, [sources.get(owner, owner) for owner in of_owner])
    _refuse_interpreters(
        {owner: (own[0].ref, here.get(sources.get(owner, owner), "")) for owner, own in of_owner.items()}
    )
    return here


def forget(session: Session, made: Iterable[Step]) -> None:
    """Remove the files that `steps` made."""
    files = {step.commands[0].split()[-1] for step in made if step.commands[0].startswith("set ")}
    if files:
        session.head.run(("rm", "-f", "--", *sorted(files)))


def _by_owner(changes: Iterable[Change]) -> dict[Owner, list[Change]]:
    owners: dict[Owner, list[Change]] = {}
    for change in changes:
        if change.ref.kind == "setting" and (owner := Owner.of(change.ref.of)) != HEAD_OWNER:
            owners.setdefault(owner, []).append(change)
    return owners


def _kept(session: Session, text: str) -> str:
    ran = session.head.run(("sh", "-c", 'umask 077; f=$(mktemp) && cat > "$f" && echo "$f"'), text)
    if ran.code:
        raise PipelineError(f"a file could not be made: {ran.err.strip()}", where=session.head.label)
    return ran.out.strip()


def edit_head(session: Session, changes: Sequence[Change], state: State) -> None:
    """Freeze the files of the head node's settings, restart CMDaemon if need be, edit them.

    What is taken out of a file that was frozen here becomes as CMDaemon has it; with the last setting of
    ``state`` gone, the file is CMDaemon's again.
    """
    named = [
        (change, match) for change in changes if is_of_head(change) and (match := NAME.match(change.ref.name))
    ]
    if not named:
        return
    paths = list(dict.fromkeys(match["file"] for _, match in named))
    texts = _files(session, [finalize.CMD_CONF, *paths])
    conf = texts.get(finalize.CMD_CONF, "")
    gone_from = {match["file"] for change, match in named if change.action == "remove"}
    thawed = [path for path in finalize.frozen_by_us(conf) if path in gone_from]
    daemons: dict[str, Sequence[Part]] = {}
    if thawed:
        conf = _configure(session, finalize.without_frozen(conf, thawed))
        written = _files(session, thawed)
        daemons = {path: parse(written.get(path, "").splitlines(keepends=True)) for path in thawed}
    kept = _files_kept(named, state)
    paths = [path for path in paths if path in kept or path not in thawed]
    frozen = finalize.with_frozen(conf, paths)
    if frozen != conf:
        _configure(session, frozen)
    for path in paths:
        values: dict[str, dict[str, list[str]]] = {}
        gone: dict[str, list[str]] = {}
        for change, match in named:
            new = {entry.name: entry.new for entry in change.assignments}
            if match["file"] == path and change.action == "remove":
                there = options(daemons.get(path, ()), match["section"], match["key"])
                if there:
                    values.setdefault(match["section"], {})[match["key"]] = [one.value for one in there]
                else:
                    gone.setdefault(match["section"], []).append(match["key"])
            if match["file"] == path and "value" in new:
                values.setdefault(match["section"], {})[match["key"]] = [str(new["value"])]
        # Read again: CMDaemon may have written it while it restarted. What it has written since it thawed is
        # not what others may have put there.
        here = texts.get(path, "") if path in thawed else _files(session, [path]).get(path, "")
        _save(session, path, changed_ini(here, values, gone))


def _files_kept(named: Iterable[tuple[Change, re.Match[str]]], state: State) -> set[str]:
    """Files of the head node that have settings when these changes are made."""
    gone = {change.ref for change, _ in named if change.action == "remove"}
    there = {ref for ref in state.objects if ref.kind == "setting" and Owner.of(ref.of) == HEAD_OWNER}
    there |= {change.ref for change, _ in named}
    return {match["file"] for ref in there - gone if (match := NAME.match(ref.name))}


def _configure(session: Session, conf: str) -> str:
    """Give CMDaemon this configuration, and restart it."""
    _save(session, finalize.CMD_CONF, conf)
    restart(session)
    return conf


def _save(session: Session, path: str, content: str) -> None:
    files = HeadFiles(session.head)
    ref = file_of(path)
    here = files.read([Wanted(ref)])
    files.write([Change(ref, "set", (Assignment("content", None, content),))], here)


def restart(session: Session) -> None:
    """Restart CMDaemon, and wait until it answers."""
    ran = session.head.run(("service", "cmd", "restart"))
    if ran.code:
        raise PipelineError(
            f"CMDaemon could not be restarted: {(ran.err or ran.out).strip()}",
            where=session.head.label,
            hint=f"FrozenFile in {finalize.CMD_CONF} is as it is to be; the next apply restarts it first",
            command="service cmd status",
        )
    until = time.monotonic() + RESTART_SECONDS
    while True:
        try:
            session.run("home\n", seconds=session.head.answer_seconds)
        except UnreachableError:
            if time.monotonic() > until:
                raise
            time.sleep(1)
        else:
            return


def refuse(changes: Iterable[Change], problems: Problems) -> None:
    """Add what can't be written this way."""
    for change in changes:
        match = NAME.match(change.ref.name) if change.ref.kind == "setting" else None
        if match is None:
            continue
        if not finalize.SAFE_PATH.match(match["file"]):
            problems.add(change.ref, f"{match['file']!r} can't be frozen: letters, digits, '_./+-' only")
        for entry in change.assignments:
            if why := unsafe(change.ref.name) or unsafe(str(entry.new)):
                problems.add(change.ref, f"{entry.name}: {entry.new!r} {why}")
