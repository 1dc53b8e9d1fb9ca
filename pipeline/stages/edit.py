"""The stage type ``edit``."""

from __future__ import annotations

import re

import msgspec

from pipeline.chroot.root import Root
from pipeline.fileops import lines
from pipeline.fileops.place import path_problem, read, replace
from pipeline.fileops.text import decode, encode
from pipeline.stages.base import Inputs, Stage


class Edit(Stage, frozen=True, kw_only=True, tag="edit"):
    r"""Change lines of a text file that the image has: insert, replace or delete.

    [[stage]]
    name = "agent-waits-for-eswitchd"
    type = "edit"
    file = "/etc/init.d/neutron-mlnx-agent"
    within = '^start\(\)'
    after = '^\s*done$'
    insert = "    sleep 3"

    Options
      file     the file, as a path of the image. It has to be there.

    one of:
      insert   lines to put in, directly after or before the line that matches
      after    … this regular expression, or
      before   … this one
      replace  a regular expression: what it matches in a line is replaced
      with     … by this text, in which \1 is the first group
      delete   a regular expression: the line that it matches is taken away

    where to look:
      within   a regular expression for the first line of a block; only the block
               is looked at, from this line to its end
      until    a regular expression for the last line of the block. Without it a
               block that starts with [section] ends before the next section; any
               other ends with the first line that begins with } as far to the left
               as the block's first line begins.
      all      with replace and delete: change every line that matches (default:
               false, several matches are an error)

    Patterns are Python's regular expressions, searched in each line on its own
    (anchor them with ^ and $). In TOML write them in '…', where \ is only itself.

    A pattern has to match exactly one line; if none or several match, the stage
    fails and shows the nearest lines, or all those that match. What is already as
    it shall be is left alone: text that stands beside its anchor is not inserted
    again. When there is nothing to delete (or to replace by an empty text) that is
    said, and is no error. A replacement that would go on changing its own result
    is refused.

    Where nothing matches replace, the stage fails but for one case: one whole line
    is what the replacement would leave. Then that is noted. It can be told when the
    pattern covers its line ('^#\s*(Port .*)$' with '\1': "Port 22" is there), or
    names the first word of that line ('PermitRootLogin yes' with
    'PermitRootLogin no').

    Owner, mode, extended attributes, line endings and a missing last newline are
    kept; if the file is a link, the file that it leads to in the image is changed.
    Of a file with several names (hard links) this name only is changed: the others
    keep what it was.
    """

    file: str
    insert: str | None = None
    after: str | None = None
    before: str | None = None
    replace: str | None = None
    with_: str | None = msgspec.field(name="with", default=None)
    delete: str | None = None
    within: str | None = None
    until: str | None = None
    all: bool = False

    def check(self) -> tuple[tuple[str, str], ...]:
        found = [("file", problem)] if (problem := path_problem(self.file)) else []
        actions = [name for name in ("insert", "replace", "delete") if getattr(self, name) is not None]
        if len(actions) != 1:
            given = " and ".join(actions) or "none"
            found.append(("insert", f"exactly one of insert, replace and delete is needed; given: {given}"))
        found += self._misplaced()
        for name in ("after", "before", "replace", "delete", "within", "until"):
            found += _pattern_problem(name, getattr(self, name))
        if self.replace is not None and self.with_ is not None and not _pattern_problem("", self.replace):
            try:
                re.compile(self.replace).sub(self.with_, "")
            except (re.error, IndexError) as error:
                found.append(("with", f"{self.with_!r} does not fit the pattern {self.replace!r}: {error}"))
        return tuple(found)

    def changes_packages(self) -> bool:
        """No."""
        return False

    def run(self, root: Root, inputs: Inputs) -> None:
        block = None if self.within is None else lines.Block(self.within, self.until)
        note = root.call(edit_file, self.file, self._change(), block)
        if note:
            root.note(note)

    def _misplaced(self) -> list[tuple[str, str]]:
        found = []
        if self.insert is not None and (self.after is None) == (self.before is None):
            found.append(("insert", "needs exactly one of after and before: where to insert"))
        if self.replace is not None and self.with_ is None:
            found.append(("replace", "needs with: what to replace it by"))
        for name, value, owner, there in (
            ("after", self.after, "insert", self.insert),
            ("before", self.before, "insert", self.insert),
            ("with", self.with_, "replace", self.replace),
            ("until", self.until, "within", self.within),
        ):
            if value is not None and there is None:
                found.append((name, f"means something only together with {owner}"))
        if self.all and self.insert is not None:
            found.append(("all", "goes with replace and delete only: an insertion has one anchor"))
        return found

    def _change(self) -> lines.Change:
        if self.insert is not None:
            if self.after is not None:
                return lines.Insert("after", self.after, self.insert)
            return lines.Insert("before", self.before or "", self.insert)
        if self.replace is not None:
            return lines.Replace(self.replace, self.with_ or "", self.all)
        return lines.Delete(self.delete or "", self.all)


def edit_file(path: str, change: lines.Change, block: lines.Block | None) -> str | None:
    """Make ``change`` in the file ``path``; returns what is to be noted. To be called in the chroot."""
    real, content = read(path)
    edited = lines.edit(decode(content), path, change, block)
    new = encode(edited.text)
    if new != content:
        replace(real, new)
    return edited.note


def _pattern_problem(option: str, pattern: str | None) -> list[tuple[str, str]]:
    if pattern is None:
        return []
    if not pattern:
        return [(option, "is empty, and would match every line")]
    try:
        re.compile(pattern)
    except re.error as error:
        return [(option, f"{pattern!r} is no regular expression: {error}")]
    return []
