"""Stand-in for neutron.agent.linux.dhcp of icehouse: the classes that DHCP drivers derive from."""


class DhcpBase:
    """What a DHCP driver is made with."""

    def __init__(self, conf, network, root_helper="sudo", version=None, plugin=None):
        self.conf = conf
        self.network = network
        self.root_helper = root_helper
        self.version = version
        self.plugin = plugin


class DhcpLocalProcess(DhcpBase):
    """A driver that runs a process for each network."""


class Dnsmasq(DhcpLocalProcess):
    """The driver whose process is dnsmasq."""

    MINIMUM_VERSION = 2.59

    def _output_hosts_file(self):
        """The hosts file's lines; a driver may write them in another way."""
        return []
