"""Test results as files: JSON of this program's own and JUnit XML as CI systems read it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import msgspec

from pipeline.store.records import Verification
from pipeline.verify.messages import ImageFacts

JSON = "results.json"
JUNIT = "junit.xml"
ELEMENTS = {"failed": "failure", "error": "error", "skipped": "skipped"}


def write(verification: Verification, facts: ImageFacts, out: Path) -> None:
    """Write ``results.json`` and ``junit.xml`` to the directory ``out``."""
    (out / JSON).write_bytes(msgspec.json.format(msgspec.json.encode(_document(verification, facts))) + b"\n")
    (out / JUNIT).write_bytes(_junit(verification, facts))


def _document(verification: Verification, facts: ImageFacts) -> dict[str, object]:
    return {
        "image": facts.name,
        "number": facts.number,
        "passed": verification.passed,
        "tests_digest": verification.tests_digest,
        "when": verification.when,
        "seconds": verification.seconds,
        "results": [
            dict(zip(("test", "outcome", "seconds", "message"), result, strict=True))
            for result in verification.results
        ],
    }


def _junit(verification: Verification, facts: ImageFacts) -> bytes:
    outcomes = [outcome for _, outcome, _, _ in verification.results]
    suite = ElementTree.Element(
        "testsuite",
        name=f"{facts.name}@{facts.number}",
        tests=str(len(outcomes)),
        failures=str(outcomes.count("failed")),
        errors=str(outcomes.count("error")),
        skipped=str(outcomes.count("skipped")),
        time=f"{verification.seconds:.3f}",
    )
    for test, outcome, seconds, message in verification.results:
        classname, _, name = test.rpartition("::")
        case = ElementTree.SubElement(
            suite, "testcase", classname=_plain(classname), name=_plain(name), time=f"{seconds:.4f}"
        )
        if outcome in ELEMENTS:
            first = message.split("\n", 1)[0]
            ElementTree.SubElement(case, ELEMENTS[outcome], message=_plain(first)).text = _plain(message)
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    written: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return written


def _plain(text: str) -> str:
    """``text`` without the characters that XML 1.0 has no way to write."""
    return "".join(
        sign
        if sign in "\t\n\r" or " " <= sign <= "\ud7ff" or (sign >= "\ue000" and sign not in "\ufffe\uffff")
        else "\ufffd"
        for sign in text
    )
