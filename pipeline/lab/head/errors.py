"""What the stand-in refuses. It is a program of its own, so its errors are not the product's."""

from __future__ import annotations


class Refused(Exception):
    """A command that was not done; the text is printed."""


class LostConnection(Exception):
    """The daemon is gone; cmsh ends."""


class Quit(Exception):
    """``quit``: cmsh ends, and what was not committed is gone."""
