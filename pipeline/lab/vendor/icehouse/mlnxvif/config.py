"""How the driver calls eswitchd."""

EBRCTL = ("sudo", "eswitch-rootwrap", "/etc/eswitchd/rootwrap.conf", "ebrctl")
