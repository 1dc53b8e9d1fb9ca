"""OpenStack's own objects, networks and their subnets, through openstacksdk.

Networks are named in the cluster file, but neutron tells them apart only by their ids: a name that two of
them have is refused. What neutron can't change once a network or subnet is there (type, physical network and
segment; the cidr) is told when it is read, before anything is written.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, NoReturn

from pipeline.cluster.objects import Assignment, Change, Kind, Properties, Ref, State, Value, Wanted
from pipeline.errors import MachineError, PipelineError, Problem, UsageError, retold

if TYPE_CHECKING:
    from openstack.connection import Connection

SDK = "openstacksdk>=4,<5"
SECONDS = 30
"""How long one answer of the cloud may take."""

ATTRIBUTES: Mapping[str, str] = {
    "type": "provider_network_type",
    "physical_network": "provider_physical_network",
    "segment": "provider_segmentation_id",
    "shared": "is_shared",
    "external": "is_router_external",
}
"""The properties of a network → what openstacksdk calls them."""

FIXED: Mapping[str, frozenset[str]] = {
    "os-network": frozenset({"type", "physical_network", "segment"}),
    "os-subnet": frozenset({"cidr"}),
}
"""What can't be changed once the object is there. Newer neutrons change some segments, icehouse none."""


class OpenStack:
    """Keeps ``os-network`` and ``os-subnet``.

    ``cloud`` is a name in clouds.yaml; empty: the one that ``OS_CLOUD`` names; a URL is that of a network
    service which asks nobody who they are.
    """

    name = "openstack"
    kinds: frozenset[Kind] = frozenset({"os-network", "os-subnet"})

    def __init__(self, cloud: str = "") -> None:
        self._cloud = cloud
        self._connected: Connection | None = None

    def read(self, wanted: Sequence[Wanted]) -> State:
        """What there is of these networks and subnets.

        Raises ``PipelineError`` with every one that is there twice, or differs in what can't be changed.
        """
        objects: dict[Ref, Properties] = {}
        problems: list[Problem] = []
        ids: dict[Ref, str | None] = {}
        for item in sorted(wanted, key=lambda item: item.ref.kind):
            network = _network(item.ref)
            if network not in ids:
                found = self._networks(network)
                ids[network] = found[0].id if len(found) == 1 else None
                problems += _doubled(network, found)
                if found:
                    objects[network] = _of_network(found[0])
            if item.ref.kind == "os-subnet" and (network_id := ids[network]):
                subnets = self._subnets(item.ref, network_id)
                problems += _doubled(item.ref, subnets)
                if subnets:
                    objects[item.ref] = _of_subnet(subnets[0], item)
        for item in wanted:
            problems += _unchangeable(item, objects)
        if problems:
            raise PipelineError(problems)
        return State(objects)

    def write(self, changes: Sequence[Change], state: State) -> None:
        """Make the networks, then the subnets. The first that is refused ends it, naming those before it."""
        _refuse(changes)
        done: list[str] = []
        for change in sorted(changes, key=lambda change: change.ref.kind):
            try:
                self._write(change)
            except PipelineError as error:
                raise retold(error, (_after(problem, done) for problem in error.problems)) from None
            done.append(str(change.ref))

    def survey(self) -> State:
        """All networks and subnets that a name tells apart; the notes say which ones it doesn't."""
        objects: dict[Ref, Properties] = {}
        left_out: list[str] = []
        owners: dict[str, Ref] = {}
        with self._asking(Ref("os-network", "*")) as network:
            networks = list(network.networks())
            subnets = list(network.subnets())
        named = Counter([one.name for one in networks] + [(one.network_id, one.name) for one in subnets])
        for one in networks:
            if one.name and named[one.name] == 1 and one.provider_network_type is not None:
                owners[one.id] = Ref("os-network", one.name)
                objects[owners[one.id]] = _of_network(one)
            else:
                left_out.append(f"network {one.id} ({one.name!r})")
        for one in subnets:
            owner = owners.get(one.network_id)
            if owner and one.name and named[one.network_id, one.name] == 1:
                objects[Ref("os-subnet", one.name, str(owner))] = {"cidr": one.cidr}
            else:
                left_out.append(f"subnet {one.id} ({one.name!r})")
        note = "left out, for no name tells them apart or their provider attributes are not shown: "
        return State(objects, (note + ", ".join(left_out),) if left_out else ())

    def _write(self, change: Change) -> None:
        ref, values = change.ref, {entry.name: entry.new for entry in change.assignments}
        found = self._networks(_network(ref))
        if problems := tuple(_doubled(_network(ref), found)):
            raise PipelineError(problems)
        if ref.kind == "os-network":
            self._write_network(change, found, {ATTRIBUTES[name]: value for name, value in values.items()})
            return
        if not found:
            raise PipelineError("its network is not there", where=str(ref))
        _refuse_made(change, self._subnets(ref, found[0].id))
        cidr = str(values["cidr"])
        with self._asking(ref) as network:
            network.create_subnet(
                network_id=found[0].id, name=ref.name, cidr=cidr, ip_version=ip_network(cidr).version
            )

    def _write_network(self, change: Change, found: Sequence[Any], attributes: Mapping[str, Value]) -> None:
        if change.action != "set":
            _refuse_made(change, found)
        elif not found:
            raise PipelineError(
                "somebody has removed it since it was read", where=str(change.ref), hint="plan again"
            )
        with self._asking(change.ref) as network:
            if found:
                network.update_network(found[0].id, **attributes)
            else:
                network.create_network(name=change.ref.name, **attributes)

    def _networks(self, ref: Ref) -> Sequence[Any]:
        with self._asking(ref) as network:
            return list(network.networks(name=ref.name))

    def _subnets(self, ref: Ref, network_id: str) -> Sequence[Any]:
        with self._asking(ref) as network:
            return list(network.subnets(name=ref.name, network_id=network_id))

    @property
    def _label(self) -> str:
        if "://" in self._cloud:
            return f"the network service {self._cloud}"
        return f"the cloud {self._cloud!r}" if self._cloud else "the cloud of this environment"

    @contextmanager
    def _asking(self, ref: Ref) -> Iterator[Any]:
        """The cloud's network service; whatever it answers but yes becomes an error that names ``ref``."""
        try:
            import openstack.exceptions as told
            from keystoneauth1 import exceptions as auth
        except ImportError:
            raise MachineError(
                f"{ref.kind} takes openstacksdk, which is not installed",
                hint="it is the extra 'openstack' of this program",
                command=f"{sys.executable} -m pip install '{SDK}'",
            ) from None
        try:
            with _beside() as said:
                self._connected = self._connected or self._known(said)
                yield self._connected.network
        except told.HttpException as error:
            self._refused(ref, error)
        except (auth.Unauthorized, auth.AuthPluginException) as error:
            raise UsageError(f"{self._label} does not let this user in: {error}", where=str(ref)) from None
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            # openstacksdk takes answers apart as they come; only its calls stand in these blocks.
            raise PipelineError(
                f"{self._label} gave an answer that no network service gives: {error}", where=str(ref)
            ) from None
        except (auth.ClientException, told.SDKException, OSError) as error:
            raise MachineError(f"{self._label} could not be reached: {error}", where=str(ref)) from None
        except PipelineError:
            raise
        except Exception as error:  # keystoneauth has no better one for a password that is missing
            raise UsageError(
                f"{self._label} can't be asked: {error}", where=str(ref), hint="see its entry in clouds.yaml"
            ) from None

    def _known(self, said: list[str]) -> Connection:
        """The connection, to which nobody has been asked yet: every error is one of the configuration."""
        try:
            return self._connect()
        except Exception as error:  # openstacksdk takes clouds.yaml apart as it comes
            raise UsageError(
                f"{self._label} is not known: {'; '.join([str(error), *said])}",
                hint="the site file's [head] cloud is a name in clouds.yaml; without it OS_CLOUD says which",
            ) from None

    def _refused(self, ref: Ref, error: Any) -> NoReturn:
        status = error.status_code or 0
        text = error.details or error.message or str(error)
        if status == 401 or not status:
            raise UsageError(f"{self._label} does not let this user in: {text}", where=str(ref)) from None
        hints = {
            403: "provider networks, shared and external ones are for administrators of the cloud",
            404: "does the cloud's catalogue name the right address of the network service?",
            409: "something uses it, or has what it asks for",
        }
        raise PipelineError(
            f"{self._label} refuses it ({status}): {text}", where=str(ref), hint=hints.get(status)
        ) from None

    def _connect(self) -> Connection:
        import openstack

        if "://" in self._cloud:
            return openstack.connect(
                load_yaml_config=False,
                load_envvars=False,
                auth_type="none",
                endpoint=self._cloud,
                network_endpoint_override=self._cloud,
                network_api_version="2",
                api_timeout=SECONDS,
            )
        return openstack.connect(cloud=self._cloud or None, api_timeout=SECONDS)


@contextmanager
def _beside() -> Iterator[list[str]]:
    """What openstacksdk logs meanwhile; with nobody to take it, it would be on stderr as it is."""
    said: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler = Handler(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("openstack", "keystoneauth")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield said
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


def _network(ref: Ref) -> Ref:
    """The network that ``ref`` is, or belongs to."""
    return ref if ref.kind == "os-network" else Ref("os-network", ref.of.removeprefix("os-network/"))


def _of_network(one: Any) -> Properties:
    values = {name: getattr(one, attribute) for name, attribute in ATTRIBUTES.items()}
    return {name: value for name, value in values.items() if value is not None}


def _of_subnet(one: Any, item: Wanted) -> Properties:
    """Its cidr, in the file's words when they mean the same."""
    wanted = item.exact.get("cidr")
    same = wanted is not None and ip_network(str(wanted), strict=False) == ip_network(one.cidr)
    return {"cidr": str(wanted) if same else one.cidr}


def _doubled(ref: Ref, found: Sequence[Any]) -> Iterator[Problem]:
    if len(found) > 1:
        kind = ref.kind.removeprefix("os-")
        yield Problem(
            f"there are {len(found)} {kind}s of this name: {', '.join(sorted(one.id for one in found))}",
            str(ref),
            f"rename or remove all but one: openstack {kind} set --name NAME ID",
        )


def _unchangeable(item: Wanted, objects: Mapping[Ref, Properties]) -> Iterator[Problem]:
    here = objects.get(item.ref)
    fixed = FIXED[item.ref.kind] & item.exact.keys()
    if here is None or not fixed:
        return
    if item.ref.kind == "os-network" and "type" not in here:
        yield Problem(
            "its provider attributes are not shown",
            str(item.ref),
            "the user of this cloud is no administrator, or the network has several segments",
        )
        return
    for name in sorted(fixed):
        if here.get(name) != item.exact[name]:
            yield _fixed(item.ref, Assignment(name, here.get(name), item.exact[name]))


def _fixed(ref: Ref, entry: Assignment) -> Problem:
    old = "nothing" if entry.old is None else repr(entry.old)
    return Problem(
        f"{entry.name} is {old} and is to be {entry.new!r}: it can't be changed once the object is there",
        str(ref),
        "change the cluster file, or remove the object by hand if nothing uses it: apply makes it anew",
    )


def _refuse(changes: Sequence[Change]) -> None:
    """Raise with everything that can't be done, before anything is."""
    problems = [
        _fixed(change.ref, entry)
        for change in changes
        if change.action == "set"
        for entry in change.assignments
        if entry.name in FIXED[change.ref.kind]
    ]
    problems += [
        Problem(f"there is no {change.action} for it", str(change.ref))
        for change in changes
        if change.action not in ("add", "set")
    ]
    if problems:
        raise PipelineError(problems)


def _refuse_made(change: Change, found: Sequence[Any]) -> None:
    if found:
        raise PipelineError(
            f"somebody has made it since it was read: {found[0].id}", where=str(change.ref), hint="plan again"
        )


def _after(problem: Problem, done: Sequence[str]) -> Problem:
    """``problem``, with what had been done before it."""
    if not done:
        return problem
    message = f"{problem.message}\n  done before it: {', '.join(done)}"
    return Problem(message, problem.where, problem.hint, problem.command)
