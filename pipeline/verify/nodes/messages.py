"""What goes over the socket between who reaches the nodes and the process that runs their tests.

The tests' process asks for a `Turn`, runs all tests on that node, tells `Done`, and asks again;
None is the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.verify.messages import Collected, Ended, Result, Started


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What tests are told about the node (fixture ``node``).

    ``image`` is the cluster manager's name of what it was installed from, ``version`` the version that this
    is (``NAME@N``; "" when it is none of this store), ``number`` its number. ``kernel`` is the release of
    that version's kernel, ``kernel_parameters`` are those that its recipe appends. ``domains`` are its
    failure domains.
    """

    name: str
    category: str = ""
    image: str = ""
    version: str = ""
    number: int = 0
    kernel: str | None = None
    kernel_parameters: tuple[str, ...] = ()
    is_virtual: bool = False
    domains: Mapping[str, str] = {}


class Answered(msgspec.Struct, frozen=True, tag=True):
    """How a command ended."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""


class Lost(msgspec.Struct, frozen=True, tag=True):
    """There is no answer, and why: the test that asked has neither passed nor failed."""

    why: str


Answer = Answered | Lost


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The node that is next. ``known`` are answers that are there already; ``waited`` is for how many seconds
    nodes of this run have been asked; ``log`` is the file for what is found."""

    node: NodeFacts
    parameters: dict[str, Any]
    known: dict[str, Answer]
    waited: float
    log: str


class Ready(msgspec.Struct, frozen=True, tag=True):
    """A request: the next `Turn`, or None."""


class Ask(msgspec.Struct, frozen=True, tag=True):
    """A request: run this shell command on the node whose turn it is, or on the head node; `Answer`.

    ``again``: the test has had an answer already.
    """

    command: str
    on_head: bool = False
    again: bool = False


class Report(msgspec.Struct, frozen=True, tag=True):
    """Told by a test, to be kept with the node's verdict."""

    key: str
    value: str


class Done(msgspec.Struct, frozen=True, tag=True):
    """All tests of the node whose turn it is came to their end."""


Message = Ready | Ask | Report | Done | Collected | Started | Result | Ended
