"""What a right cluster file comes to; the shipped one is the hand procedure."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from recipes.tables import Case

from pipeline.cluster.load import load_cluster
from pipeline.cluster.model import Cluster, Firmware
from pipeline.cluster.objects import HEAD, Ref, Value, Wanted
from pipeline.cluster.schema import schema
from pipeline.recipe.site import load_site

REPOSITORY = Path(__file__).parents[2]
MELLANOX = "category/openstack-compute-hosts-mellanox"
ML2 = "/etc/neutron/plugins/ml2/ml2_conf.ini"
BRIDGE = "/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini"

Load = Callable[..., Cluster]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads the text of a cluster file, ``x``, beside other files."""

    def load(text: str, **files: str) -> Cluster:
        named = {"recipes/clusters/x.toml": '[cluster]\nname = "x"\n' + text, **files}
        Case("", named, [], []).write(tmp_path)
        monkeypatch.chdir(tmp_path)
        return load_cluster("x", load_site(None))

    return load


@pytest.fixture(scope="module")
def shipped() -> Cluster:
    return load_cluster("openstack-mellanox", load_site(REPOSITORY / "pipeline.toml"))


def objects(cluster: Cluster) -> Mapping[str, Wanted]:
    return {str(item.ref): item for item in cluster.wanted}


def modifications(cluster: Cluster, owner: str) -> list[str]:
    """As the hand procedure types them: ``-FILE[SECTION]KEY`` and ``+FILE[SECTION]KEY=VALUE``."""
    found = []
    for item in cluster.wanted:
        if item.ref.kind == "setting" and item.ref.of == owner:
            found += [f"-{item.ref.name}"] if item.exact["replaces"] else []
            found.append(f"+{item.ref.name}={item.exact['value']}")
    return found


def typed(file: str, text: str) -> list[str]:
    return [f"{line[0]}{file}{line[1:]}" for line in text.split()]


def linuxbridge(interface: str) -> list[str]:
    return typed(
        BRIDGE,
        f"""
        -[vlans]tenant_network_type
        +[vlans]tenant_network_type=flat,vlan
        -[vlans]network_vlan_ranges
        +[vlans]network_vlan_ranges=ibhostnet:1:10,phyvlanhostnet:11:20
        -[linux_bridge]physical_interface_mappings
        +[linux_bridge]physical_interface_mappings=ibhostnet:{interface},phyflatnet:br0-flat-veth,phyvlanhostnet:eth0
        """,
    )


def test_the_head_nodes_modifications_are_those_of_the_hand_procedure(shipped: Cluster) -> None:
    assert modifications(shipped, str(HEAD)) == typed(
        ML2,
        """
        -[ml2]type_drivers
        +[ml2]type_drivers=flat,vlan
        -[ml2]tenant_network_types
        +[ml2]tenant_network_types=flat,vlan
        -[ml2]mechanism_drivers
        +[ml2]mechanism_drivers=mlnx,linuxbridge,l2population
        -[ml2_type_vlan]network_vlan_ranges
        +[ml2_type_vlan]network_vlan_ranges=ibhostnet:1:10,phyvlanhostnet:11:20
        +[eswitch]vnic_type=hostdev
        +[eswitch]apply_profile_patch=True
        """,
    )


def test_the_compute_hosts_modifications_are_those_of_the_hand_procedure(shipped: Cluster) -> None:
    assert modifications(shipped, MELLANOX) == linuxbridge("eth6")


def test_a_node_that_differs_has_all_of_its_categorys_modifications(shipped: Cluster) -> None:
    assert modifications(shipped, "node/node003") == linuxbridge("eth4")
    assert modifications(shipped, "node/node002") == []


PARTITIONS = """\
management=0x7fff,ipoib, sl=0, defmember=full : ALL, ALL_SWITCHES=full,SELF=full;
vlan1=0x1, ipoib, sl=0, defmember=full : ALL_CAS;
vlan2=0x2, ipoib, sl=0, defmember=full : ALL_CAS;
vlan3=0x3, ipoib, sl=0, defmember=full : ALL_CAS;
vlan4=0x4, ipoib, sl=0, defmember=full : ALL_CAS;
vlan5=0x5, ipoib, sl=0, defmember=full : ALL_CAS;
vlan6=0x6, ipoib, sl=0, defmember=full : ALL_CAS;
vlan7=0x7, ipoib, sl=0, defmember=full : ALL_CAS;
vlan8=0x8, ipoib, sl=0, defmember=full : ALL_CAS;
vlan9=0x9, ipoib, sl=0, defmember=full : ALL_CAS;
vlan10=0xa, ipoib, sl=0, defmember=full : ALL_CAS;
"""


def test_opensm_has_the_files_of_the_hand_procedure_and_restarts_after_them(shipped: Cluster) -> None:
    found = objects(shipped)
    partitions = found["head/master/file//etc/opensm/partitions.conf"]
    options = found["head/master/file//etc/opensm/opensm.conf"]
    assert partitions.exact == {"content": PARTITIONS}
    assert (options.exact, options.append) == ({}, {"words": ("allow_both_pkeys TRUE",)})
    assert found["head/master/service/opensm"].exact == {"running": True}
    assert found["node/node001/service/opensm"].exact == {"running": False}
    assert shipped.restarts == {Ref("service", "opensm", str(HEAD)): (partitions.ref, options.ref)}


@pytest.mark.parametrize(
    ("name", "exact"),
    [
        (MELLANOX, {"image": "openstack-image-mellanox"}),
        ("category/openstack-network-nodes", {"image": "openstack-image-mellanox"}),
        ("node/node002", {"category": "openstack-compute-hosts-mellanox"}),
        ("node/node003", {"category": "openstack-compute-hosts-mellanox"}),
        (f"{MELLANOX}/service/eswitchd", {"autostart": True, "monitored": True}),
        (f"{MELLANOX}/service/neutron-mlnx-agent", {"autostart": True, "monitored": True}),
        (
            "network/ibnetwork",
            {
                "openstack_type": "other",
                "openstack_vlan_range": "1:10",
                "openstack_shared": True,
                "openstack_physical_network": "ibnetwork",
                "domain": "ibhostnet.cluster",
                "base_address": "192.168.80.0",
                "netmask_bits": 24,
                "broadcast_address": "192.168.80.255",
            },
        ),
        ("node/vnode012/interface/ib0", {"type": "physical", "dhcp": True, "network": "ibnetwork"}),
        (
            "os-network/ibnetwork",
            {
                "type": "vlan",
                "physical_network": "ibhostnet",
                "segment": 1,
                "shared": True,
                "external": False,
            },
        ),
        ("os-network/ibnetwork/os-subnet/ibsubnet", {"cidr": "192.168.80.0/24"}),
    ],
)
def test_the_shipped_file_wants_what_the_hand_procedure_sets(
    name: str, exact: Mapping[str, Value], shipped: Cluster
) -> None:
    assert objects(shipped)[name].exact == exact


def test_clones_are_made_of_what_the_hand_procedure_clones(shipped: Cluster) -> None:
    found = objects(shipped)
    image = found["image/openstack-image-mellanox"]
    assert (image.source, found[MELLANOX].source) == ("openstack-image", "openstack-compute-hosts")
    assert image.exact == {"path": "/cm/images/openstack-image-mellanox"}
    kernel = ("intel_iommu=on", "iommu=pt", "pci=realloc", "pci=nocrs")
    assert image.append == {"kernel_parameters": kernel}
    assert not found["category/openstack-network-nodes"].make
    assert not found["node/node002"].make


def test_each_object_comes_after_what_it_needs(shipped: Cluster) -> None:
    order = [str(item.ref) for item in shipped.wanted]
    for item in shipped.wanted:
        needed = [item.ref.of, f"image/{item.exact.get('image')}", f"category/{item.exact.get('category')}"]
        needed.append(f"network/{item.exact.get('network')}")
        for name in needed:
            assert name not in order or order.index(name) < order.index(str(item.ref))


def test_what_the_order_of_names_gives_is_noted(shipped: Cluster) -> None:
    (note,) = shipped.notes
    assert note == (
        "a network whose maker chooses no provider lies on ibhostnet: "
        'tenant_network_types is "flat,vlan", and in alphabetical order it comes before phyvlanhostnet'
    )


def test_the_firmware_step_has_the_recipes_parameters_put_in(shipped: Cluster) -> None:
    assert shipped.firmware == Firmware(
        ("openstack-compute-hosts-mellanox",),
        "node001",
        True,
        "/cm/shared/ofed/MLNX_OFED_LINUX-2.3-1.0.1-rhel6.5-x86_64",
        ("cm-config-intelcompliance-slave",),
        vfs=16,
    )


def test_properties_know_where_they_are_said(shipped: Cluster) -> None:
    data = tomllib.loads(shipped.file.read_text())
    for item in shipped.wanted:
        for name in (*item.exact, *item.append):
            at: object = data
            for key in item.place(name):
                at = at[key]  # type: ignore[index]
            assert at is not None


def test_the_schema_accepts_the_shipped_file_and_refuses_what_loading_refuses(shipped: Cluster) -> None:
    made = schema()
    Draft202012Validator.check_schema(made)
    validator = Draft202012Validator(made)
    text = shipped.file.read_text()
    assert [error.message for error in validator.iter_errors(tomllib.loads(text))] == []
    for old, new in [
        ('isolation = "vlan"', 'isolation = "gre"'),
        ("[[category]]", "[[categroy]]"),
        ("autostart = true", 'autostart = "yes"'),
        ('generate = "ml2"', 'genrate = "ml2"'),
    ]:
        assert not validator.is_valid(tomllib.loads(text.replace(old, new))), new


VXLAN = f"""
[parameters]
ib_interface = "eth6"
vxlan_ip = {{ required = true }}
[neutron]
isolation = "vxlan"
default_provider = "DEFAULT"
local_ip = "{{{{ vxlan_ip }}}}"
[[neutron.provider]]
name = "ibhostnet"
type = "vlan"
fabric = "infiniband"
range = "1:10"
interface = "{{{{ ib_interface }}}}"
[[neutron.provider]]
name = "phyflatnet"
type = "flat"
interface = "br0-flat-veth"
[[neutron.provider]]
name = "phyvlanhostnet"
type = "vlan"
range = "11:20"
[[head.file]]
path = "{ML2}"
generate = "ml2"
[[category]]
name = "compute"
nodes = "node[1-2]"
[[category.file]]
path = "{BRIDGE}"
generate = "linuxbridge"
[[node]]
names = "node1"
parameters = {{ vxlan_ip = "10.161.0.1" }}
[[node]]
names = "node2"
parameters = {{ vxlan_ip = "10.161.0.2", ib_interface = "eth4" }}
"""


@pytest.mark.parametrize(
    ("default", "types"), [("ibhostnet", "flat,vlan,vxlan"), ("vxlan", "flat,vxlan,vlan")]
)
def test_with_vxlan_the_order_of_types_makes_the_default(default: str, types: str, load: Load) -> None:
    cluster = load(VXLAN.replace("DEFAULT", default))
    assert modifications(cluster, str(HEAD)) == typed(
        ML2,
        f"""
        -[ml2]type_drivers
        +[ml2]type_drivers=flat,vlan,vxlan
        -[ml2]tenant_network_types
        +[ml2]tenant_network_types={types}
        -[ml2]mechanism_drivers
        +[ml2]mechanism_drivers=mlnx,linuxbridge,l2population
        -[ml2_type_vlan]network_vlan_ranges
        +[ml2_type_vlan]network_vlan_ranges=ibhostnet:1:10,phyvlanhostnet:11:20
        -[ml2_type_vxlan]vni_ranges
        +[ml2_type_vxlan]vni_ranges=1:8000
        -[ml2_type_vxlan]vxlan_group
        +[ml2_type_vxlan]vxlan_group=224.0.0.1
        +[eswitch]vnic_type=hostdev
        +[eswitch]apply_profile_patch=True
        """,
    )
    assert "VXLAN" in cluster.notes[0] if default == "vxlan" else "ibhostnet" in cluster.notes[0]
    assert "network_vlan_ranges keeps ibhostnet:1:10" in cluster.notes[1]


def test_with_vxlan_each_node_has_its_own_address(load: Load) -> None:
    cluster = load(VXLAN.replace("DEFAULT", "vxlan"))
    common = """
        -[vlans]tenant_network_type
        +[vlans]tenant_network_type=flat
        -[vlans]network_vlan_ranges
        +[vlans]network_vlan_ranges=ibhostnet:1:10,phyvlanhostnet:11:20
        -[linux_bridge]physical_interface_mappings
        +[linux_bridge]physical_interface_mappings=ibhostnet:INTERFACE,phyflatnet:br0-flat-veth
        -[vxlan]enable_vxlan
        +[vxlan]enable_vxlan=True
        -[vxlan]local_ip
        +[vxlan]local_ip=ADDRESS
        -[vxlan]vxlan_group
        +[vxlan]vxlan_group=224.0.0.1
        -[vxlan]l2_population
        +[vxlan]l2_population=True
        """
    of_nodes = {
        node: typed(BRIDGE, common.replace("INTERFACE", interface).replace("ADDRESS", address))
        for node, interface, address in (("node1", "eth6", "10.161.0.1"), ("node2", "eth4", "10.161.0.2"))
    }
    for node, expected in of_nodes.items():
        assert modifications(cluster, f"node/{node}") == expected
    without = [line for line in of_nodes["node1"] if "local_ip" not in line]
    assert modifications(cluster, "category/compute") == without


def test_a_nodes_own_keys_stand_among_those_of_its_category(load: Load) -> None:
    cluster = load(
        """
        [[category]]
        name = "c"
        nodes = "node[1-3]"
        [[category.file]]
        path = "/etc/a.ini"
        set = { s = { one = 1, two = true } }
        [[node]]
        names = "node[1-2]"
        [[node.file]]
        path = "/etc/a.ini"
        set = { s = { two = false, three = "3" } }
        """
    )
    assert modifications(cluster, "category/c") == typed(
        "/etc/a.ini", "-[s]one +[s]one=1 -[s]two +[s]two=True"
    )
    own = typed("/etc/a.ini", "-[s]one +[s]one=1 -[s]two +[s]two=False -[s]three +[s]three=3")
    assert modifications(cluster, "node/node1") == modifications(cluster, "node/node2") == own
    assert modifications(cluster, "node/node3") == []


def test_parameters_that_make_no_difference_put_nothing_on_a_node(load: Load) -> None:
    cluster = load(
        """
        [parameters]
        a = "x"
        b = "{{ a }}y"
        [[category]]
        name = "c"
        nodes = "node[1-3]"
        [[category.file]]
        path = "/etc/a.ini"
        set = { s = { k = "{{ b }}" } }
        [[node]]
        names = "node1"
        parameters = { a = "x" }
        [[node]]
        names = "node2"
        parameters = { a = "z" }
        """
    )
    assert modifications(cluster, "node/node1") == []
    assert modifications(cluster, "node/node2") == typed("/etc/a.ini", "-[s]k +[s]k=zy")


def test_values_that_a_shell_or_cmsh_would_read_stay_as_they_are(load: Load) -> None:
    value = "$(reboot) `id`; \"quoted\" 'single' [x] (y) \\ | > !"
    cluster = load(
        f"""
        [[category]]
        name = "c"
        [[category.file]]
        path = "/etc/a.ini"
        set = {{ s = {{ k = '''{value}''' }} }}
        """
    )
    assert objects(cluster)["category/c/setting//etc/a.ini[s]k"].exact["value"] == value


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ("", None),
        ('path = "/cm/images/a"', "/cm/images/a"),
        ('version = "published"', "images/a"),
        ("version = 3", "images/a-3"),
    ],
)
def test_an_image_is_at_its_path_or_where_its_version_is_published(
    said: str, path: str | None, load: Load, tmp_path: Path
) -> None:
    recipe = (
        '[image]\nname = "a"\nbase = "openstack-image"\n[image.kernel]\nappend_parameters = ["x=1", "y"]\n'
    )
    cluster = load(
        f'[[image]]\nname = "a"\n{said}\nappend_kernel_parameters = ["y", "z"]\n',
        **{"recipes/a/recipe.toml": recipe},
    )
    (image,) = cluster.wanted
    assert image.exact == ({"path": str(tmp_path / path)} if path else {})
    assert image.make is bool(path)
    assert image.append == {"kernel_parameters": ("x=1", "y", "z")}


def test_groups_are_those_of_the_file(load: Load) -> None:
    cluster = load(
        """
        [groups]
        odd = "node[1-9/2]"
        both = "@odd,node2"
        [[category]]
        name = "c"
        nodes = "@both!node[3-9]"
        """
    )
    nodes = [item.ref.name for item in cluster.wanted if item.ref.kind == "node"]
    assert nodes == ["node1", "node2"]


FLAT = """
[neutron]
[[neutron.provider]]
name = "NAME"
type = "flat"
[[head.file]]
path = "/etc/ml2_conf.ini"
generate = "ml2"
"""


@pytest.mark.parametrize(("name", "lines"), [("phyflatnet", 0), ("physflat", 2)])
def test_flat_networks_are_set_where_they_are_not_those_that_the_manager_writes(
    name: str, lines: int, load: Load
) -> None:
    expected = typed(
        "/etc/ml2_conf.ini", "-[ml2_type_flat]flat_networks +[ml2_type_flat]flat_networks=physflat"
    )
    found = modifications(load(FLAT.replace("NAME", name)), str(HEAD))
    assert [line for line in found if "flat_networks" in line] == expected[:lines]


def test_overlapping_ranges_on_several_interfaces_are_noted(load: Load) -> None:
    providers = [
        f'[[neutron.provider]]\nname = "{name}"\ntype = "vlan"\n'
        f'range = "{range_}"\ninterface = "{interface}"\n'
        for name, range_, interface in (("a", "1:10", "eth0"), ("b", "5:15", "eth1"))
    ]
    notes = load("[neutron]\n" + "".join(providers)).notes
    assert (
        'the ranges of "a" and "b" overlap (5:10): on other interfaces, a VLAN ID is another network' in notes
    )


def test_a_category_of_the_firmware_step_has_to_be_there(load: Load) -> None:
    (item,) = load('[firmware]\ndirectory = "/x"\ncategories = ["nope"]\n').wanted
    assert (str(item.ref), item.make, item.at) == ("category/nope", False, ("firmware", "categories", 0))


def test_a_range_with_steps_has_as_many_nodes_as_it_has_steps(load: Load) -> None:
    cluster = load('[[category]]\nname = "c"\nnodes = "v[0-1000000/100000]"\n')
    assert sum(item.ref.kind == "node" for item in cluster.wanted) == 11


@pytest.mark.parametrize(
    ("mode", "reads"), [("644", "0644"), ("0644", "0644"), ("04755", "4755"), ("000", "0000")]
)
def test_a_files_mode_is_wanted_as_it_is_read_back(mode: str, reads: str, load: Load) -> None:
    cluster = load(f'[[head.file]]\npath = "/etc/a"\ncontent = "x"\nmode = "{mode}"\nowner = "root:root"\n')
    assert cluster.wanted[0].exact == {"content": "x", "mode": reads, "owner": "root:root"}


def test_ten_thousand_nodes_in_fifty_categories_take_less_than_half_a_second(load: Load) -> None:
    text = (
        '[parameters]\nib_interface = "eth6"\n[[neutron.provider]]\nname = "ib"\ntype = "vlan"\n'
        'fabric = "infiniband"\nrange = "1:100"\ninterface = "{{ ib_interface }}"\n'
    )
    for first in range(1, 10_001, 200):
        text += (
            f'[[category]]\nname = "c{first}"\nnodes = "node[{first:05d}-{first + 199:05d}]"\n'
            '[[category.service]]\nname = "eswitchd"\nautostart = true\n'
            f'[[category.file]]\npath = "{BRIDGE}"\ngenerate = "linuxbridge"\n'
            f'[[node]]\nnames = "node[{first:05d}-{first + 8:05d}]"\n'
            'parameters = { ib_interface = "eth4" }\n'
        )
    load(text)
    start = time.process_time()
    cluster = load(text)
    assert time.process_time() - start < 0.5
    assert sum(item.ref.kind == "node" for item in cluster.wanted) == 10_000
    assert len([item for item in cluster.wanted if item.ref.of == "node/node00209"]) == 3
