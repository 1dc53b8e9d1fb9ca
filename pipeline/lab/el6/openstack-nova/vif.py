"""Stand-in for nova.virt.libvirt.vif of icehouse: the classes that VIF drivers derive from."""


class LibvirtBaseVIFDriver:
    """Makes the libvirt configuration of a guest's interface."""

    def __init__(self, get_connection=None):
        self.get_connection = get_connection

    def get_config(self, instance, vif, image_meta, inst_type):
        return {"type": vif.get("type")}


class LibvirtGenericVIFDriver(LibvirtBaseVIFDriver):
    """The default of libvirt.vif_driver."""

    def plug(self, instance, vif):
        """Nothing is plugged in the lab."""

    def unplug(self, instance, vif):
        """Nothing is unplugged in the lab."""
