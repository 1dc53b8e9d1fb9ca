"""Run by neutron's own interpreter: holds keys against the option definitions of neutron and networking-mlnx.

In: JSON, a list of [file, section, key, the line as it stands in the file]. Out: JSON, for each of them
{"value": what the program understands}, {"unknown": true} or {"wrong": why}.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

from networking_mlnx.eswitchd.common import config as eswitchd
from networking_mlnx.plugins.ml2.drivers.mlnx import config as mechanism
from networking_mlnx.plugins.ml2.drivers.mlnx.agent import config as agent
from neutron import opts as neutron
from neutron.conf.agent import securitygroups_rpc
from oslo_config import cfg
from oslo_log import _options as logging

Groups = Iterable[tuple[Any, Iterable[Any]]]

SECURITY = [("securitygroup", securitygroups_rpc.security_group_opts)]
LOGGING: Groups = logging.list_opts()

DEFINITIONS: Mapping[str, list[Groups]] = {
    "ml2_conf.ini": [neutron.list_ml2_conf_opts(), [("mlnx", mechanism.mlnx_opts)], SECURITY],
    "linuxbridge_conf.ini": [neutron.list_linux_bridge_opts(), SECURITY],
    "mlnx_conf.ini": [[("eswitch", agent.eswitch_opts), ("agent", agent.agent_opts)], SECURITY, LOGGING],
    "dhcp_agent.ini": [neutron.list_dhcp_agent_opts(), neutron.list_base_agent_opts(), LOGGING],
    "eswitchd.conf": [[("DAEMON", eswitchd.mlx_daemon_opts)], LOGGING],
}
"""Which programs' definitions each file is read by, the newest neutron that has Linux bridges."""


def options(file: str) -> dict[tuple[str, str], Any]:
    """(section, key), both in small letters → definition."""
    found: dict[tuple[str, str], Any] = {}
    for groups in DEFINITIONS[file]:
        for group, some in groups:
            section = (getattr(group, "name", group) or "DEFAULT").lower()
            for option in some:
                found[section, option.dest.lower()] = option
                for old in option.deprecated_opts:
                    found[(old.group or section).lower(), (old.name or option.dest).lower()] = option
    return found


def understood(option: Any, section: str, line: str) -> Any:
    """What the program makes of the line, read as it reads its files: quotes off, then the option's type."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"[{section}]\n{line}\n")
        file.flush()
        conf = cfg.ConfigOpts()
        conf.register_opt(option, None if section == "DEFAULT" else section)
        conf(args=[], default_config_files=[file.name], default_config_dirs=[])
        place = conf if section == "DEFAULT" else conf[section]
        return place[option.dest]


def main() -> None:
    """Answer what stdin asks."""
    answers: list[dict[str, Any]] = []
    known = {file: options(file) for file in DEFINITIONS}
    for file, section, key, line in json.load(sys.stdin):
        option = known[file].get((section.lower(), key.lower()))
        if option is None:
            answers.append({"unknown": True})
            continue
        try:
            answers.append({"value": understood(option, section, line)})
        except (ValueError, cfg.Error) as error:
            answers.append({"wrong": str(error)})
    json.dump(answers, sys.stdout, default=str)


if __name__ == "__main__":
    main()
