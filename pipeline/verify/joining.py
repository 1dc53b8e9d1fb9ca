"""The beginning of the process that runs tests: its options, what tests may import, the socket to us."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from pipeline.verify.ending import end_with


def add_options(parser: pytest.Parser) -> None:
    """What ``pipeline.verify.isolated`` starts pytest with."""
    parser.addoption("--tests-socket", type=int, required=True)
    parser.addoption("--tests-starter", type=int, required=True)
    parser.addoption("--tests-modules")


def let_import(early_config: pytest.Config) -> None:
    """Let the tests, and their conftest, import what lies beside them: last, so that it hides no library."""
    folder = early_config.known_args_namespace.tests_modules
    if folder is not None:
        sys.path.append(folder)


def join(config: pytest.Config) -> socket.socket:
    """The socket to the process that started this one, with which this one ends from now on."""
    end_with(config.getoption("--tests-starter"))
    number = config.getoption("--tests-socket")
    os.set_inheritable(number, False)
    return socket.socket(fileno=number)
