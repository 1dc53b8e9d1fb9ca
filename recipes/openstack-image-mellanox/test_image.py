"""What nodes of this image rely on; run in the version's chroot before any of them sees it."""

import configparser
import re

import pytest

KERNEL = "2.6.32-431.el6.x86_64"


def settings(host, path):
    """The keys of an INI file of the image, as oslo.config would read them."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read_string(host.file(path).content_string)
    return parser


def shell_settings(host, path):
    lines = host.file(path).content_string.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def module_options(host, module):
    """The options of a kernel module in all files that modprobe reads; the last one counts."""
    lines = re.findall(rf"(?m)^options\s+{module}\s+(.*)$", host.check_output("modprobe --showconfig"))
    return dict(word.split("=", 1) for line in lines for word in line.split() if "=" in word)


# Kernel and drivers


def test_nodes_boot_with_iommu_and_room_for_virtual_functions(image):
    assert image.kernel == KERNEL
    assert {"intel_iommu=on", "iommu=pt", "pci=realloc", "pci=nocrs"} <= set(image.kernel_parameters)


def test_ofed_is_the_one_that_was_asked_for(host, parameters):
    assert host.check_output("ofed_info -s") == f"MLNX_OFED_LINUX-{parameters['ofed_version']}:"


@pytest.mark.parametrize("name", ["mlnx-ofa_kernel", "kmod-mlnx-ofa_kernel", "ofed-scripts", "libmlx4"])
def test_ofed_package_is_installed(host, name):
    assert host.package(name).is_installed


@pytest.mark.parametrize("module", ["mlx4_core", "mlx4_ib", "mlx4_en", "ib_ipoib", "eth_ipoib"])
def test_the_image_kernel_finds_the_driver(host, image, module):
    path = host.check_output(f"modinfo -k {image.kernel} -F filename {module}")
    assert path.startswith(f"/lib/modules/{image.kernel}/extra/")


@pytest.mark.parametrize("name", ["cm-config-intelcompliance-slave", "qlgc-ofed"])
def test_what_keeps_ofed_from_being_installed_is_gone(host, name):
    assert not host.package(name).is_installed


def test_the_card_is_given_virtual_functions(host, parameters):
    options = module_options(host, "mlx4_core")
    wanted = {"num_vfs": str(parameters["vfs"]), "port_type_array": "1,1", "probe_vf": "0"}
    assert {name: options.get(name) for name in wanted} == wanted


def test_guids_are_not_assigned_by_the_subnet_manager(host):
    assert module_options(host, "mlx4_ib").get("sm_guid_assign") == "0"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ONBOOT", "yes"),
        ("MLX4_LOAD", "yes"),
        ("MLX4_EN_LOAD", "yes"),
        ("IPOIB_LOAD", "yes"),
        ("E_IPOIB_LOAD", "yes"),
        ("RUN_SYSCTL", "no"),
        ("RDMA_CM_LOAD", "yes"),
        ("SET_IPOIB_CM", "auto"),
        ("SRP_LOAD", "no"),
    ],
)
def test_openib_loads(host, key, value):
    assert shell_settings(host, "/etc/infiniband/openib.conf")[key] == value


def test_openib_conf_is_shell(host):
    assert host.run("sh -n /etc/infiniband/openib.conf").rc == 0


# Neutron, Nova, eswitchd


@pytest.mark.parametrize("name", ["eswitchd", "openstack-neutron-mellanox", "mlnxvif"])
def test_package_is_installed(host, name):
    assert host.package(name).is_installed


@pytest.mark.parametrize(
    ("name", "parameter"), [("mlnx-dnsmasq", "mlnx_dnsmasq_version"), ("dnsmasq", "dnsmasq_version")]
)
def test_package_has_the_version_that_was_asked_for(host, parameters, name, parameter):
    package = host.package(name)
    assert package.is_installed
    assert package.version == parameters[parameter]


def test_dnsmasq_says_the_version_it_has_to_be(host, parameters):
    assert f"Dnsmasq version {parameters['dnsmasq_version']} " in host.check_output("dnsmasq --version")


def test_the_repository_of_the_drivers_is_known(host):
    text = host.file("/etc/yum.repos.d/mlnx-icehouse.repo").content_string
    assert "baseurl=http://www.mellanox.com/downloads/solutions/openstack/icehouse/repo/mlnx-icehouse" in text


def test_eswitchd_can_write_its_log(host, parameters):
    log = host.file(parameters["eswitchd_log"])
    assert log.is_file
    assert (log.user, log.group) == ("eswitch", "eswitch")


def test_the_agent_waits_for_eswitchd_once_and_before_it_starts(host, parameters):
    sleep = f"sleep {parameters['agent_waits_seconds']}"
    text = host.file("/etc/init.d/neutron-mlnx-agent").content_string
    start = text[text.index("start() {") : text.index("\nstop() {")]
    lines = [line.strip() for line in start.splitlines()]
    assert lines.count(sleep) == 1
    assert lines.index("done") < lines.index(sleep)
    assert lines[lines.index(sleep) + 1].startswith("echo -n")
    assert "${configs[@]/#/--config-file }" in text
    assert host.run("bash -n /etc/init.d/neutron-mlnx-agent").rc == 0


def test_the_agent_is_all_else_that_its_package_brought(host):
    changed = host.run("rpm -V openstack-neutron-mellanox").stdout.split()
    assert {word for word in changed if word.startswith("/")} <= {
        "/etc/rc.d/init.d/neutron-mlnx-agent",
        "/etc/init.d/neutron-mlnx-agent",
        "/etc/neutron/plugins/mlnx/mlnx_conf.ini",
    }


@pytest.mark.parametrize("name", ["eswitchd", "neutron-mlnx-agent"])
def test_service_can_be_started_by_the_cluster_manager(host, name):
    assert host.service(name).exists


def test_dhcp_agent_uses_the_mellanox_dnsmasq(host):
    default = settings(host, "/etc/neutron/dhcp_agent.ini")["DEFAULT"]
    assert default["dhcp_driver"] == "mlnx_dhcp.MlnxDnsmasq"
    assert default["enable_isolated_metadata"] == "True"
    assert default["dnsmasq_config_file"] == "/etc/neutron/dnsmasq.bright.conf"
    assert default["interface_driver"] == "neutron.agent.linux.interface.BridgeInterfaceDriver"


def test_nova_plugs_guests_into_virtual_functions(host):
    assert settings(host, "/etc/nova/nova.conf")["libvirt"]["vif_driver"] == "mlnxvif.vif.MlxEthVIFDriver"


def test_the_agent_serves_the_infiniband_network(host, parameters):
    found = settings(host, "/etc/neutron/plugins/mlnx/mlnx_conf.ini")
    network = parameters["ib_network"]
    assert dict(found["mlnx"]) == {
        "verbose": "True",
        "debug": "True",
        "tenant_network_type": "vlan",
        "network_vlan_ranges": f"{network}:{parameters['ib_vlan_range']}",
        "physical_network_type_mappings": f"{network}:ib",
        "physical_network_type": "ib",
    }
    assert found["eswitch"]["physical_interface_mappings"] == f"{network}:{parameters['ib_device']}"
    assert found["eswitch"]["vnic_type"] == parameters["vnic_type"]
    assert found["eswitch"]["daemon_endpoint"] == f"'tcp://localhost:{parameters['eswitchd_port']}'"
    polling = str(parameters["agent_polls_every_seconds"])
    assert dict(found["agent"]) == {"polling_interval": polling, "rpc_support_old_agents": "True"}
    assert found["securitygroup"]["enable_security_group"] == "True"


def test_mlnx_conf_is_readable_by_neutron_and_by_nobody_else(host):
    conf = host.file("/etc/neutron/plugins/mlnx/mlnx_conf.ini")
    assert (conf.user, conf.group, conf.mode) == ("root", "neutron", 0o640)


def test_eswitchd_serves_the_same_network_on_the_port_that_the_agent_asks(host, parameters):
    found = settings(host, "/etc/eswitchd/eswitchd.conf")
    assert found["DEFAULT"]["log_file"] == parameters["eswitchd_log"]
    assert found["DEFAULT"]["default_log_levels"] == '"eswitchd=DEBUG"'
    assert (found["DEFAULT"]["verbose"], found["DEFAULT"]["debug"]) == ("True", "True")
    assert found["DAEMON"]["fabrics"] == f"'{parameters['ib_network']}:{parameters['ib_device']}'"
    assert found["DAEMON"]["socket_os_port"] == str(parameters["eswitchd_port"])
    assert found["DAEMON"]["socket_of_port"] == str(parameters["eswitchd_openflow_port"])
    assert found["DAEMON"]["default_timeout"] == str(parameters["eswitchd_timeout"])


def test_the_python_drivers_are_where_python_finds_them(host):
    for module in ("mlnxvif/vif.py", "mlnx_dhcp.py"):
        owned = host.check_output("rpm -ql mlnxvif mlnx-dnsmasq").splitlines()
        assert any(path.endswith(module) for path in owned)
