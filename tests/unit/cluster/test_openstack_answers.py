"""What a cloud answers that is no yes: told with the object, and with what to do about it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.cluster.objects import Ref, Wanted
from pipeline.cluster.openstack import OpenStack
from pipeline.errors import MachineError, PipelineError, UsageError
from tests.servers import Reply, http_server

needs_sdk = pytest.mark.skipif(
    find_spec("keystoneauth1") is None,
    reason="openstacksdk is not installed: the extra 'openstack'",
)

NETWORK = Ref("os-network", "ibnetwork")
WANTED = (Wanted(NETWORK, {"type": "vlan", "physical_network": "ibhostnet", "segment": 1}),)

JSON = {"Content-Type": "application/json"}
VERSIONS = (
    b'{"versions": [{"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": "/v2.0/"}]}]}'
)
NO = '{"NeutronError": {"message": "no", "type": "x", "detail": ""}}'


@pytest.fixture(autouse=True)
def without_clouds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cloud of whoever runs the tests."""
    for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_USERNAME", "OS_CLIENT_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The clouds.yaml that openstacksdk reads."""
    file = tmp_path / "clouds.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    return file


def answering(status: int, body: str) -> PipelineError:
    """What reading tells when the cloud says which versions it has, and then this."""

    def reply(number: int, asked: Mapping[str, str]) -> Reply:
        return Reply(200, VERSIONS, JSON) if number == 1 else Reply(status, body.encode(), JSON)

    with http_server(reply) as server, pytest.raises(PipelineError) as told:
        OpenStack(server.url).read(WANTED)
    return told.value


@needs_sdk
@pytest.mark.parametrize("status", [403, 404, 409])
def test_a_refusal_names_the_object_and_says_why(status: int) -> None:
    (problem,) = answering(status, NO).problems
    assert problem.where == "os-network/ibnetwork"
    assert f"refuses it ({status}): no" in problem.message
    assert problem.hint


@needs_sdk
def test_who_is_not_let_in_is_told_so() -> None:
    error = answering(401, NO)
    assert isinstance(error, UsageError)
    assert "does not let this user in" in str(error)


@needs_sdk
@pytest.mark.parametrize("body", ["", "<html>", "[]", '{"networks": 1}', '{"networks": [1]}'])
def test_an_answer_that_is_none_is_told(body: str) -> None:
    (problem,) = answering(200, body).problems
    assert problem.where == "os-network/ibnetwork"
    assert "gave an answer that no network service gives" in problem.message


@needs_sdk
def test_a_user_who_is_not_shown_provider_attributes_is_told_so() -> None:
    error = answering(200, '{"networks": [{"id": "1", "name": "ibnetwork", "shared": true}]}')
    assert "os-network/ibnetwork: its provider attributes are not shown" in str(error)


@needs_sdk
def test_a_cloud_that_is_not_reached_is_told() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(MachineError, match=f"os-network/ibnetwork: .* {url} could not be reached"):
            OpenStack(url).read(WANTED)


@needs_sdk
def test_a_cloud_that_no_file_names_is_told() -> None:
    with pytest.raises(UsageError, match=r"the cloud 'nosuch' is not known(?s:.*)clouds\.yaml"):
        OpenStack("nosuch").read(WANTED)


@needs_sdk
def test_without_any_cloud_it_says_so() -> None:
    with pytest.raises(UsageError, match=r"the cloud of this environment is not known(?s:.*)auth_url"):
        OpenStack().read(WANTED)


def test_without_openstacksdk_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openstack.exceptions", None)
    with pytest.raises(MachineError, match="openstacksdk, which is not installed") as told:
        OpenStack().read(WANTED)
    assert told.value.problems[0].command == f"{sys.executable} -m pip install 'openstacksdk>=4,<5'"
    assert told.value.exit_code == 3


def test_without_openstacksdk_nothing_is_imported_before_it_is_needed() -> None:
    assert OpenStack("any").read(()).objects == {}


@needs_sdk
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clouds:\n  bright: 7\n", "'int' object"),
        ("clouds: [a\n", "Skipping config file .*clouds.yaml"),
        ("clouds:\n  bright:\n    auth_type: nosuch\n", "The plugin nosuch could not be found"),
        ("clouds:\n  bright:\n    auth: 5\n", "'int' object"),
    ],
    ids=["no table", "broken", "unknown type", "bad auth"],
)
def test_a_mistake_in_clouds_yaml_is_no_answer_of_the_cloud(clouds: Path, text: str, said: str) -> None:
    clouds.write_text(text)
    with pytest.raises(UsageError, match=rf"the cloud 'bright' is not known: (?s:.*){said}"):
        OpenStack("bright").read(WANTED)


@needs_sdk
def test_a_cloud_without_a_password_is_told_before_it_is_reached(clouds: Path) -> None:
    auth = "auth_url: http://127.0.0.1:9/v3, username: u, project_name: p, user_domain_name: d"
    clouds.write_text(f"clouds:\n  bright:\n    auth: {{{auth}, project_domain_name: d}}\n")
    with pytest.raises(UsageError, match=r"the cloud 'bright' can't be asked: (?s:.*)password") as told:
        OpenStack("bright").read(WANTED)
    assert told.value.problems[0].where == "os-network/ibnetwork"
