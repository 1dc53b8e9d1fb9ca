"""What virtual nodes have to be after a rollout, when their hosts give them a virtual function each."""

import ipaddress
import re

import pytest

pytestmark = pytest.mark.only(virtual=True)


def test_it_has_a_virtual_function(host):
    assert host.run("lspci -n -d 15b3:1004").stdout, "the instance was started without a port of ibnetwork"


def test_it_has_an_address_in_the_infiniband_network(host, parameters, report):
    said = host.run(f"ip -4 -o address show dev {parameters['ib_device']}").stdout
    found = re.search(r"\binet (\S+?)/", said)
    assert found, f"{parameters['ib_device']} has no address: is ibnetwork's DHCP agent alive?"
    report("ib_address", found[1])
    assert ipaddress.ip_address(found[1]) in ipaddress.ip_network(parameters["subnet"])


def test_its_infiniband_device_is_up(host, parameters):
    assert ",UP" in host.check_output(f"ip -o link show dev {parameters['ib_device']}")
