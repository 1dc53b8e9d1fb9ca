"""Sign a version that has passed its tests, with a key of ssh; or keep a signature that was made elsewhere.

What is signed is a text, which --statement prints: the version, its content, its lock and its tests.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.recipe.model import Site
    from pipeline.signing.making import Made
    from pipeline.store.records import Version
    from pipeline.store.store import Store


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", metavar="IMAGE[@N]", help="without @N the newest one")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="a private key, or the public one of a key that the agent has",
    )
    how.add_argument("--statement", action="store_true", help="print what is signed, and sign nothing")
    how.add_argument(
        "--signature", metavar="FILE", help="keep this signature of the statement (-: from stdin)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.build.session import require_root
    from pipeline.interrupts import work_begins
    from pipeline.recipe.site import load_site
    from pipeline.signing.making import accept, sign, to_be_signed
    from pipeline.store.store import Store

    site = load_site(options.site)
    store = Store.open(site.store, create=False)
    version = store.versions.resolve(options.version)
    if options.statement:
        text = to_be_signed(store, version)
        _print({"version": version.label, "statement": text}) if options.json else print(text, end="")
        return 0
    require_root()
    work_begins()
    if options.key is not None:
        made = sign(store, version, options.key)
    else:
        made = accept(store, version, *_signature(options.signature))
    return _told(options, site, store, version, made)


def _signature(name: str) -> tuple[str, str]:
    """The text of a signature, and where it is from."""
    from pipeline.errors import UsageError

    if name == "-":
        return sys.stdin.read(), "stdin"
    try:
        return Path(name).read_text(errors="replace"), name
    except OSError as error:
        raise UsageError(f"the signature cannot be read: {error.strerror}", where=name) from None


def _told(options: argparse.Namespace, site: Site, store: Store, version: Version, made: Made) -> int:
    """Say who signed, and what is still lacking: that is no error of signing."""
    from pipeline.errors import PipelineError
    from pipeline.signing.signers import judged, lacking

    try:
        found = judged(site, store, version)
    except PipelineError:  # told below: the signers cannot be read
        found = ()
    principal = next((each.principal for each in found if each.file == str(made.file)), None)
    for problem in lacking(site, store, version):
        print(f"pipeline: warning: {problem}", file=sys.stderr)
    if options.json:
        _print(
            {
                "version": version.label,
                "key": made.key,
                "principal": principal,
                "changed": made.changed,
                "file": str(made.file),
            }
        )
    else:
        who = f"{principal}, {made.key}" if principal else made.key
        print(f"{version.label}: {'signed' if made.changed else 'it was signed before'} by {who}")
    return 0


def _print(document: dict[str, Any]) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
