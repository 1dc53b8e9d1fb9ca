"""Which files of a node differ from its version by right."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PRUNED = """
    proc sys dev run tmp mnt media home root lost+found selinux cm
    var/log var/run var/lock var/spool var/tmp var/cache
"""

_BY_NODE = """
    etc/fstab etc/mtab etc/adjtime etc/hostname etc/hosts etc/resolv.conf* etc/networks
    etc/hostid etc/machine-id etc/localtime etc/sysconfig/network etc/sysconfig/network-scripts
    etc/sysconfig/networking etc/sysconfig/clock etc/sysconfig/ntpd etc/sysconfig/hwconf etc/sysconfig/grub
    etc/sysconfig/iptables etc/sysconfig/kernel etc/ntp etc/ntp.conf etc/chrony.conf etc/postfix/main.cf
    etc/postfix/*.db etc/aliases.db etc/rsyslog.conf etc/exports etc/nslcd.conf etc/nsswitch.conf
    etc/openldap/ldap.conf etc/pam_ldap.conf etc/udev/rules.d/70-* etc/lvm/cache etc/lvm/archive
    etc/lvm/backup etc/blkid etc/mdadm.conf etc/mdadm etc/multipath etc/iscsi/initiatorname.iscsi
    etc/ssh/ssh_host_* etc/ssh/ssh_known_hosts
    etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/.pwd.lock
"""

_BY_TOOLS = """
    etc/ld.so.cache etc/prelink.cache etc/grub.conf etc/grub2.cfg boot/grub boot/grub2 boot/initr*
    boot/lost+found lib/modules/*/modules.* usr/lib/modules/*/modules.* .autofsck .autorelabel
    **/*.pyc **/*.pyo **/__pycache__ **/.nfs*
    var/lib/* var/account var/lost+found var/db var/empty var/adm
"""

PRUNED = tuple(_PRUNED.split())
"""Directories that are not looked into: the kernel's, what is mounted there, what programs write."""

IGNORED = (*_BY_NODE.split(), *_BY_TOOLS.split())
"""Globs as for `matcher`: what the cluster manager, its installer and a boot write for each node; what boot
loader, kernel tools and programs make."""

STRICT = ("etc", "usr", "lib", "lib64", "bin", "sbin", "opt", "boot")
"""Where a file that the version has not is told."""


def matcher(globs: Iterable[str]) -> re.Pattern[str]:
    """What matches a path (without its first slash) that one of ``globs`` means, or that lies below it.

    ``*`` and ``?`` stay in a directory, ``**`` does not; slashes around a glob don't matter.
    """
    return re.compile(f"(?:{'|'.join(_expression(glob.strip('/')) for glob in globs)})(?:/|$)", re.DOTALL)


def _expression(glob: str) -> str:
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    return "".join(words.get(part) or re.escape(part) for part in parts if part)
