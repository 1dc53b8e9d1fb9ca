"""A dnsmasq driver that knows ports on InfiniBand by a client id; their Ethernet address is not enough."""

from neutron.agent.linux import dhcp

CLIENT_ID_PREFIX = "ff:00:00:00:00:00:02:00:00:02:c9:00:"


class MlnxDnsmasq(dhcp.Dnsmasq):
    """Adds ``id:`` with the port's client id to the hosts file's lines."""

    @staticmethod
    def client_id(mac):
        """The client id that IPoIB sends for the port with Ethernet address ``mac`` (aa:bb:cc:dd:ee:ff)."""
        octets = mac.lower().split(":")
        return CLIENT_ID_PREFIX + ":".join(octets[:3]) + ":00:00:" + ":".join(octets[3:])

    def host_line(self, port, name, address):
        """One line of dnsmasq's hosts file: MAC address, client id, name, IP address."""
        mac = port["mac_address"]
        return ",".join((mac, "id:" + self.client_id(mac), name, address))
