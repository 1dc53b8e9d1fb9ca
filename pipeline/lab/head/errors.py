"""What the stand-in refuses. It is a program of its own, so its errors are not the product's."""

from __future__ import annotations


class CommandError(Exception):
    """A command that was not done; the text is printed."""


class DisconnectedError(Exception):
    """The daemon is gone; cmsh ends."""


class Quit(Exception):  # noqa: N818 -- no error
    """``quit``: cmsh ends, and what was not committed is gone."""
