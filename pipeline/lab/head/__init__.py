"""The lab's head node: a strict stand-in for Bright's ``cmsh``, ``cmd``, ``service`` and ``chkconfig``.

Its state is a directory: ``state.json`` (objects), ``switches.json`` (what the manual leaves unknown),
``faults.json`` (what tests make go wrong), ``calls.jsonl`` (every call), ``root/`` (its files), ``bin/``.

The programs start with ``python -I -S`` and import this package only: no third-party package, so plain
``NamedTuple`` stands where the rest of the program has ``msgspec.Struct``, whose import alone takes 17 ms.
"""
