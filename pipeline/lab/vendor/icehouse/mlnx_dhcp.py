"""A dnsmasq driver that knows ports on InfiniBand by a client id, as their Ethernet address does not identify them."""

try:
    from neutron.agent.linux.dhcp import Dnsmasq
except ImportError:  # the lab's images have Neutron's files, not its Python packages
    Dnsmasq = object

CLIENT_ID_PREFIX = "ff:00:00:00:00:00:02:00:00:02:c9:00:"


class MlnxDnsmasq(Dnsmasq):
    """Adds ``id:`` with the port's client id to the hosts file's lines."""

    @staticmethod
    def client_id(mac):
        """The client id that IPoIB sends for the port with Ethernet address ``mac`` (aa:bb:cc:dd:ee:ff)."""
        octets = mac.lower().split(":")
        return CLIENT_ID_PREFIX + ":".join(octets[:3] + ["00", "00"] + octets[3:])

    def host_line(self, port, name, address):
        """One line of dnsmasq's hosts file: MAC address, client id, name, IP address."""
        return "%s,id:%s,%s,%s" % (port["mac_address"], self.client_id(port["mac_address"]), name, address)
