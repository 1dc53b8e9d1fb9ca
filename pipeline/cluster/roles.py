"""Another role than at the last apply: what that has set is in the old one, which is not read."""

from __future__ import annotations

import msgspec

from pipeline.cluster.model import Cluster
from pipeline.cluster.record import Record
from pipeline.errors import UsageError
from pipeline.printable import counted


def in_its_role(cluster: Cluster, last: Record) -> Record:
    """``last`` without the settings of another role than the site names now.

    Raises ``UsageError`` where applies have added some: they would stay there, and count beside the new ones.
    A record of before the role was kept is of this one.
    """
    if last.of.role in ("", cluster.role):
        return last
    added = [name for name in last.added.put if "/setting/" in name]
    if added:
        raise UsageError(
            f'the role in the site\'s [head] is "{cluster.role}", and "{last.of.role}" has '
            f"{counted(len(added), 'setting')} that applies have added, such as {added[0]}",
            where=str(cluster.file),
            hint=f'say role = "{last.of.role}" again; to go to the other one take the settings out of this '
            "file and apply, then change the role, put them in again, and apply",
            command=f"pipeline cluster plan {cluster.name}",
        )
    applied = {name: its for name, its in last.applied.items() if "/setting/" not in name}
    return msgspec.structs.replace(last, applied=applied)
