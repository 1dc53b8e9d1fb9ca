"""The VIF driver: plugs an instance's interface into the embedded switch, by ebrctl."""

import subprocess

from nova.virt.libvirt import vif as libvirt_vif

from mlnxvif import config


class MlxEthVIFDriver(libvirt_vif.LibvirtGenericVIFDriver):
    """Nova calls plug before an instance's start, unplug after its end."""

    def plug(self, instance, vif):
        """Let the embedded switch know the interface ``vif``; raises CalledProcessError when it refuses."""
        self._ebrctl("add-port", vif)

    def unplug(self, instance, vif):
        """Let the embedded switch forget the interface ``vif``; raises CalledProcessError when it refuses."""
        self._ebrctl("del-port", vif)

    def _ebrctl(self, action, vif):
        fabric = vif["network"]["meta"]["physical_network"]
        command = list(config.EBRCTL)
        command.extend((action, fabric, vif["address"]))
        subprocess.check_call(command)
