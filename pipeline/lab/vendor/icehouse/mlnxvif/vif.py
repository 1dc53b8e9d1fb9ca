"""The VIF driver: plugs an instance's interface into the embedded switch, by ebrctl."""

import subprocess

from mlnxvif import config

try:
    from nova.virt.libvirt.vif import LibvirtGenericVIFDriver
except ImportError:  # the lab's images have Nova's files, not its Python packages
    LibvirtGenericVIFDriver = object


class MlxEthVIFDriver(LibvirtGenericVIFDriver):
    """Nova calls plug before an instance's start, unplug after its end."""

    def plug(self, instance, vif):
        """Let the embedded switch know the interface ``vif``; raises CalledProcessError when it refuses."""
        self._ebrctl("add-port", vif)

    def unplug(self, instance, vif):
        """Let the embedded switch forget the interface ``vif``; raises CalledProcessError when it refuses."""
        self._ebrctl("del-port", vif)

    def _ebrctl(self, action, vif):
        fabric = vif["network"]["meta"]["physical_network"]
        subprocess.check_call(config.EBRCTL + (action, fabric, vif["address"]))
