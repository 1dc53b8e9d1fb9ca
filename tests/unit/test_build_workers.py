"""The processes in which images are built end with the one that started them."""

from __future__ import annotations

import os

from pipeline.build.images import begin_worker


def exit_code_when_begun_under(parent: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            begin_worker(parent)
            os._exit(7)
        finally:
            os._exit(8)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_worker_whose_parent_has_ended_before_it_began_ends() -> None:
    """The kernel tells only those of their parent's end who have asked before."""
    gone = os.getppid()
    assert exit_code_when_begun_under(os.getpid()) == 7
    assert exit_code_when_begun_under(gone) == 1
