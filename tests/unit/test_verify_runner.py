"""Test files against an image: what passes, and that nothing else does."""

from __future__ import annotations

import contextlib
import json
import os
import select
from pathlib import Path
from xml.etree import ElementTree

import pytest
from verify_local import FACTS, LocalRoot, verify

from pipeline.errors import PipelineError
from pipeline.store.records import Verification
from pipeline.verify import digest
from pipeline.verify.runner import run_tests

GOOD = "def test_good(): pass\n"


def outcomes(verification: Verification) -> dict[str, str]:
    return {test: outcome for test, outcome, _, _ in verification.results}


def messages(verification: Verification) -> str:
    return "\n".join(message for _, _, _, message in verification.results)


def test_a_file_that_passes_is_verified_and_its_results_are_kept(tmp_path: Path) -> None:
    verification = verify(
        tmp_path,
        "def test_good(host, image, parameters):\n"
        "    assert host.check_output('echo %s', 'a b') == 'a b'\n"
        "    assert (image.name, image.number) == ('openstack-image', 3)\n"
        "    assert image.kernel_parameters == ('intel_iommu=on', 'iommu=pt')\n"
        "    assert parameters['vfs'] == 16 and parameters['networks'] == ['ibhostnet']\n",
    )
    assert verification.passed, messages(verification)
    assert outcomes(verification) == {"test_image.py::test_good": "passed"}
    written = json.loads((tmp_path / "out/results.json").read_text())
    assert written["passed"] is True
    assert written["results"][0]["test"] == "test_image.py::test_good"
    suite = ElementTree.parse(tmp_path / "out/junit.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "0", "0")
    assert "1 passed" in (tmp_path / "out/pytest.log").read_text()


def test_a_commands_exit_code_and_both_outputs_are_right(tmp_path: Path) -> None:
    verification = verify(
        tmp_path,
        "def test_good(host):\n"
        "    ran = host.run('echo out; echo err >&2; printf \"\\\\377\"; exit 3')\n"
        "    assert (ran.rc, ran.stdout_bytes, ran.stderr) == (3, b'out\\n\\xff', 'err\\n')\n"
        "    assert host.run_expect([3], 'exit 3').failed and host.run_test('false').rc == 1\n"
        "    assert host.exists('sh') and not host.exists('no-such-program')\n"
        "    assert host.find_command('sh').endswith('/sh')\n"
        "    with host.sudo():\n"
        "        assert host.check_output('id -u') == '0'\n",
    )
    assert verification.passed, messages(verification)


def test_a_failure_tells_of_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    verification = verify(
        tmp_path,
        "NAME = '/etc/q\\udcff'\n"
        "def test_said(host):\n"
        "    raise RuntimeError(f'no {NAME}')\n"
        "def test_refused(host):\n"
        "    host.file('/proc/\\udcff').exists\n"
        "def test_command(host):\n"
        "    assert host.run('cat %s', NAME).rc == 1\n"
        "    host.check_output('cat %s', NAME)\n",
    )
    assert set(outcomes(verification).values()) == {"failed"}
    assert all(
        told in messages(verification) for told in (r"no /etc/q\udcff", r"/proc/\xff", r"'/etc/q\xff'")
    )


def test_a_failure_is_told_in_short_with_file_and_line(tmp_path: Path) -> None:
    verification = verify(
        tmp_path,
        "def test_bad(host):\n    user = host.file('/etc/passwd').user\n    assert user == 'neutron'\n"
        + GOOD,
    )
    assert not verification.passed
    assert outcomes(verification) == {
        "test_image.py::test_bad": "failed",
        "test_image.py::test_good": "passed",
    }
    assert verification.results[0][3].startswith("test_image.py:3: assert 'root' == 'neutron'")
    failure = ElementTree.parse(tmp_path / "out/junit.xml").getroot().find(".//failure")
    assert failure is not None and failure.get("message") == "test_image.py:3: assert 'root' == 'neutron'"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no test"),
        ("import no_such_module\n" + GOOD, "No module named 'no_such_module'"),
        (GOOD + "def broken(:\n", "SyntaxError"),
        ("raise SystemExit(0)\n" + GOOD, "holds no test"),
        ("import os\nos._exit(0)\n" + GOOD, "pytest ended with exit code 0"),
        (GOOD + "import os\ndef test_x(): os._exit(0)\n", "ended with exit code 0 in this test"),
        (GOOD + "import os\ndef test_x(): os.kill(os.getpid(), 9)\n", "was killed by signal 9 in this test"),
        (
            GOOD + "import pytest\ndef test_x(): pytest.exit('enough', returncode=0)\ndef test_y(): pass\n",
            "never run",
        ),
        (GOOD + "import sys\ndef test_x(): sys.exit(0)\n", "SystemExit"),
        ("import pytest\npytest.skip('no', allow_module_level=True)\n" + GOOD, "no"),
        ("import pytest\n@pytest.mark.skip(reason='later')\ndef test_x(): pass\n", "later"),
        (GOOD + "def test_x(): return 1 == 2\n", "assert"),
        (GOOD + "def test_x(): assert (1 == 2, 'tuple')\n", "assertion is always true"),
        (GOOD + "class TestX:\n    def __init__(self): pass\n    def test_x(self): assert 0\n", "__init__"),
        (GOOD + "async def test_x(): assert 0\n", "async"),
        (GOOD + "def test_x(subtests):\n    with subtests.test(): assert 0\n", "assert 0"),
        (GOOD + "def test_x(no_such_fixture): pass\n", "no_such_fixture"),
        (
            GOOD + "import pytest\n@pytest.fixture\ndef x():\n    yield\n    assert 0\ndef test_x(x): pass\n",
            "assert 0",
        ),
        (
            GOOD + "def test_x(host): host.run('true'); host.backend.image._connection.close()\n",
            "ended with exit code",
        ),
    ],
)
def test_what_does_not_test_is_never_a_pass(tmp_path: Path, text: str, reason: str) -> None:
    verification = verify(tmp_path, text)
    assert not verification.passed
    assert reason in messages(verification)


def test_one_file_without_tests_among_others_is_an_error(tmp_path: Path) -> None:
    verification = verify(tmp_path, GOOD, test_other="x = 1\n")
    assert outcomes(verification) == {"test_image.py::test_good": "passed", "test_other.py": "error"}
    assert not verification.passed


def test_a_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "test_good.py").write_text(GOOD)
    files = [tmp_path / "test_good.py", tmp_path / "test_missing.py"]
    verification = run_tests(files, LocalRoot(), FACTS, tmp_path / "out", lambda line: None)
    assert not verification.passed
    assert "test_missing.py" in messages(verification)


def test_a_version_without_tests_is_not_verified(tmp_path: Path) -> None:
    verification = run_tests([], LocalRoot(), FACTS, tmp_path / "out", lambda line: None)
    assert (verification.passed, verification.results) == (False, ())


def test_nothing_of_the_users_pytest_has_a_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    folder = tmp_path / "recipe"
    folder.mkdir()
    for place in (folder, tmp_path):
        (place / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "conftest.py").write_text("raise RuntimeError\n")
    assert verify(folder, GOOD).passed
    assert sorted(path.name for path in folder.iterdir()) == ["out", "pytest.ini", "test_image.py"]


def test_a_conftest_and_modules_beside_the_tests_are_theirs(tmp_path: Path) -> None:
    for name, number in (("one", 1), ("two", 2)):
        folder = tmp_path / name
        (folder / "deep").mkdir(parents=True)
        (folder / "helper.py").write_text(f"NUMBER = {number}\n")
        (folder / "deep/inner.py").write_text("import helper\nNUMBER = helper.NUMBER\n")
        (folder / "conftest.py").write_text(
            "import pytest, helper\n"
            "@pytest.fixture\ndef number(parameters): return helper.NUMBER, parameters['vfs']\n"
        )
        text = (
            "import helper\nfrom deep.inner import NUMBER\n"
            f"def test_it(host, number): assert (helper.NUMBER, NUMBER, number) == ({number}, {number}, "
            f"({number}, 16))\n"
        )
        verification = verify(folder, text)
        assert verification.passed, messages(verification)


@pytest.mark.parametrize("name", ["json", "pytest", "pipeline", "testinfra", "msgspec"])
def test_a_module_beside_the_tests_takes_no_librarys_place(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("raise RuntimeError\n")
    verification = verify(
        tmp_path, f"import {name}\ndef test_x(host): assert host.check_output('echo') == ''\n"
    )
    assert verification.passed, messages(verification)


def test_a_conftest_that_is_broken_is_told(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import no_such_module\n")
    verification = verify(tmp_path, GOOD)
    assert not verification.passed
    assert "conftest.py" in messages(verification) and "no_such_module" in messages(verification)


def test_files_of_the_same_name_in_two_folders_are_both_run(tmp_path: Path) -> None:
    files = [tmp_path / folder / "test_image.py" for folder in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_text(GOOD)
    verification = run_tests(files, LocalRoot(), FACTS, tmp_path / "out", lambda line: None)
    assert verification.passed
    assert sorted(outcomes(verification)) == ["a/test_image.py::test_good", "b/test_image.py::test_good"]


def test_each_result_is_told_as_it_comes(tmp_path: Path) -> None:
    lines: list[str] = []
    (tmp_path / "test_a.py").write_text("def test_bad(): assert 0\n" + GOOD)
    run_tests([tmp_path / "test_a.py"], LocalRoot(), FACTS, tmp_path / "out", lines.append)
    assert [line.split("  ")[0] for line in lines if "::" in line] == [
        ["failed", "test_a.py::test_bad"][0],
        ["passed", "test_a.py::test_good"][0],
    ]
    assert any("test_a.py:1: assert 0" in line for line in lines)


def test_a_root_that_breaks_is_an_error_of_the_root(tmp_path: Path) -> None:
    class Broken(LocalRoot):
        def run(self, *args: object, **kwargs: object) -> None:  # type: ignore[override]
            raise PipelineError("the chroot ended before its time")

    with pytest.raises(PipelineError, match="before its time"):
        verify(tmp_path, "def test_x(host): host.run('true')\n", Broken())


def test_a_process_that_a_test_leaves_behind_ends_with_the_tests(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    verification = verify(
        tmp_path,
        "import os, signal\n"
        "def test_x(host):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        signal.pause()\n"
        f"    open({str(pid_file)!r}, 'w').write(str(pid))\n"
        "    os._exit(0)\n",
    )
    assert not verification.passed
    assert "exit code 0 in this test" in messages(verification)
    with contextlib.suppress(ProcessLookupError):
        number = os.pidfd_open(int(pid_file.read_text()))
        ended, _, _ = select.select([number], [], [], 5)
        os.close(number)
        assert ended


def test_the_digest_changes_with_the_tests(tmp_path: Path) -> None:
    file = tmp_path / "test_a.py"
    file.write_text(GOOD)
    before = digest.tests_digest([file])
    assert before == digest.tests_digest([file]) and len(before) == 64
    file.write_text(GOOD + "\n")
    assert digest.tests_digest([file]) != before


@pytest.mark.parametrize("name", ["expected.json", "conftest.py", "data/deep/users.txt", ".hidden"])
def test_the_digest_changes_with_each_file_that_tests_may_read(tmp_path: Path, name: str) -> None:
    test = tmp_path / "test_a.py"
    test.write_text(GOOD)
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    seen = {digest.tests_digest([test])}
    for text in ("one", "two"):
        file.write_text(text)
        seen.add(digest.tests_digest([test]))
    file.chmod(0o755)
    seen.add(digest.tests_digest([test]))
    file.unlink()
    file.symlink_to("/etc/passwd")
    seen.add(digest.tests_digest([test]))
    assert len(seen) == 5


def test_the_digest_stays_with_what_is_no_matter_of_the_tests(tmp_path: Path) -> None:
    test = tmp_path / "test_a.py"
    test.write_text(GOOD)
    outside = tmp_path.with_name(f"{tmp_path.name}-outside")
    outside.mkdir()
    (tmp_path / "link").symlink_to(outside)
    before = digest.tests_digest([test])
    (outside / "x").write_text("")
    for name in ("recipe.toml", "recipe.lock", "__pycache__/a", ".pytest_cache/v", "test_a.py~", "a.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / ".test_a.py.swp").write_text("")
    assert digest.tests_digest([test]) == before


def test_big_files_count_by_their_times_and_too_many_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test, big = tmp_path / "test_a.py", tmp_path / "big"
    test.write_text(GOOD)
    with big.open("wb") as file:
        file.truncate(1 << 40)
    os.mkfifo(tmp_path / "pipe")
    before = digest.tests_digest([test])
    os.utime(big, (1, 1))
    assert digest.tests_digest([test]) != before
    monkeypatch.setattr(digest, "MOST_FILES", 2)
    with pytest.raises(PipelineError, match="more than 2 files"):
        digest.tests_digest([test])


UNITTEST = """
import unittest
import pytest

class TestUsers(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def of_the_image(self, host):
        self.host = host

    def test_good(self):
        self.assertTrue(self.host.file("/etc/passwd").exists)

    def test_bad(self):
        self.assertEqual(self.host.file("/etc/passwd").user, "neutron")

    @unittest.skip("later")
    def test_later(self):
        self.fail()
"""


def test_classes_of_unittest_are_tests(tmp_path: Path) -> None:
    verification = verify(tmp_path, UNITTEST)
    assert outcomes(verification) == {
        "test_image.py::TestUsers::test_good": "passed",
        "test_image.py::TestUsers::test_bad": "failed",
        "test_image.py::TestUsers::test_later": "skipped",
    }
    assert "'root' != 'neutron'" in messages(verification)


def test_a_test_that_stops_for_a_debugger_is_no_pass(tmp_path: Path) -> None:
    assert not verify(tmp_path, GOOD + "def test_x(): breakpoint()\n").passed
