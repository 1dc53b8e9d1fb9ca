"""Whole files of the head node: read, and written by one rename."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from pipeline.cluster.differing import differences
from pipeline.cluster.head import Head
from pipeline.cluster.objects import HEAD, Change, Kind, Properties, Ref, State, Value, Wanted
from pipeline.errors import PipelineError, Problem

DEFAULT_MODE = "0644"
DEFAULT_OWNER = "root:root"

# $1: the root, then paths. A line for each: "-" when it is not there, "/" when its folder is not either, else
# mode, owner (by number where that has no name) and the content.
READ = r"""
root=${1%/}; shift
about() { stat -L -c "$1" -- "$file"; }
named() { name=$(about "$1"); [ "$name" != UNKNOWN ] || name=$(about "$2"); printf %s "$name"; }
for path; do
  file=$root$path
  if [ -f "$file" ]; then
    printf '%s %s:%s ' "$(about %04a)" "$(named %U %u)" "$(named %G %g)"; base64 -w0 -- "$file" && echo
  elif [ -e "$file" ] || [ -L "$file" ]; then echo '? is no regular file'
  elif [ -d "$(dirname -- "$file")" ]; then echo -
  else echo /; fi
done
"""

# $1: the root, $2: the path, $3: mode, $4: owner, $5: the content's SHA-256, $6: that of the content that the
# file had, "-" when there was none; stdin: the content in base64, which ends early when its sender does.
WRITE = r"""
set -e
root=${1%/}; file=$root$2
if [ -z "$root" ] && [ -L "$file" ]; then file=$(readlink -f -- "$file"); fi
sum() { sha256sum < "$1" | cut -d ' ' -f 1; }
umask 077
new=$(mktemp -- "$file.XXXXXXXX")
trap 'rm -f -- "$new"' EXIT
base64 -d > "$new" || :
[ "$(sum "$new")" = "$5" ] || { echo 'it did not arrive whole' >&2; exit 1; }
chown -- "$4" "$new"
chmod -- "$3" "$new"
sync -- "$new"
there=-
[ ! -e "$file" ] || there=$(sum "$file")
[ "$there" = "$6" ] || { echo 'somebody has changed it since it was read' >&2; exit 1; }
mv -fT -- "$new" "$file"
sync -- "$(dirname -- "$file")"
"""

CHANGED = "somebody has changed it since it was read; it was left as it is"


class HeadFiles(msgspec.Struct, frozen=True):
    """The keeper of objects of the kind ``file``; a driver in all but ``survey``."""

    head: Head
    name: str = "files of the head node"
    kinds: frozenset[Kind] = frozenset({"file"})

    def read(self, wanted: Sequence[Wanted]) -> State:
        """What there is of these files, in one call."""
        refs = [item.ref for item in wanted]
        if not refs:
            return State({})
        ran = self.head.run(["sh", "-c", READ, "sh", self.head.root, *(ref.name for ref in refs)])
        lines = ran.out.splitlines()
        if ran.code or len(lines) != len(refs):
            raise PipelineError(
                f"files could not be read: {ran.err.strip() or ran.out.strip()}", where=self.head.label
            )
        found: dict[Ref, Properties] = {}
        problems = []
        for ref, line in zip(refs, lines, strict=True):
            if line == "/":
                problems.append(
                    Problem(
                        "the folder of this file is missing",
                        str(ref),
                        "install what the file belongs to; nothing was changed",
                    )
                )
            elif line.startswith("?"):
                problems.append(Problem(f"{ref.name} is no regular file", self.head.label))
            elif line != "-":
                found[ref] = _properties(line)
        if problems:
            raise PipelineError(problems)
        return State(found)

    def write(self, changes: Sequence[Change], state: State) -> None:
        """Write each file beside the old one, and rename it.

        Raises before anything is written, with all files that are no longer as ``state`` has them.
        """
        here = self.read([Wanted(change.ref) for change in changes]).objects
        _refuse_changed(changes, state, here)
        for change in changes:
            new: dict[str, Value] = {
                "mode": DEFAULT_MODE,
                "owner": DEFAULT_OWNER,
                **here.get(change.ref, {}),
                **{entry.name: entry.new for entry in change.assignments},
            }
            self._write(change.ref.name, new, here.get(change.ref))

    def _write(self, path: str, new: Mapping[str, Value], here: Properties | None) -> None:
        ran = self.head.run(*arguments(self.head.root, path, new, here))
        if ran.code:
            raise PipelineError(
                f"{path} could not be written: {ran.err.strip() or f'exit code {ran.code}'}",
                where=self.head.label,
                hint="the file is as it was",
            )


def arguments(
    root: str, path: str, new: Mapping[str, Value], here: Properties | None
) -> tuple[list[str], str]:
    """What is run to write a file that is ``here`` as it was read, and what it is given."""
    content = _bytes(new)
    sums = (_sum(content), "-" if here is None else _sum(_bytes(here)))
    argv = ["sh", "-c", WRITE, "sh", root, path, str(new["mode"]), str(new["owner"]), *sums]
    return argv, base64.b64encode(content).decode()


def _bytes(properties: Properties) -> bytes:
    return str(properties.get("content", "")).encode("utf-8", "surrogateescape")


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _refuse_changed(changes: Sequence[Change], state: State, here: Mapping[Ref, Properties]) -> None:
    problems = [
        Problem(f"{CHANGED}: {said}", str(change.ref))
        for change in changes
        for said in differences(state.objects.get(change.ref), here.get(change.ref))
    ]
    if problems:
        raise PipelineError(problems)


def _properties(line: str) -> Properties:
    mode, owner, encoded = (*line.split(" "), "")[:3]
    return {
        "mode": mode,
        "owner": owner,
        "content": base64.b64decode(encoded).decode("utf-8", "surrogateescape"),
    }


def file_of(path: str) -> Ref:
    """The object that a file of the head node is."""
    return Ref("file", path, str(HEAD))
