"""Files of lines ``KEY VALUE``, such as opensm.conf."""

from __future__ import annotations

from collections.abc import Iterable


def with_words(content: str, wanted: Iterable[str]) -> str:
    """``content`` with these lines: one with the same first word is replaced where it stands (repetitions are
    taken out), otherwise the line is added at the end. Comments and everything else stay.

    opensm reads such a file line by line, the last line of a key wins (``osm_subn_parse_conf_file``).
    """
    left = {line.split()[0]: line for line in wanted}
    known = set(left)
    lines = []
    for line in content.splitlines():
        key = line.split()[0] if line.split() else ""
        if key not in known:
            lines.append(line)
        elif key in left:
            lines.append(left.pop(key))
    lines += left.values()
    return "".join(f"{line}\n" for line in lines)
