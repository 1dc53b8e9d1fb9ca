"""What cannot be true in a chroot, and where it can be checked instead.

A chroot runs no services and shares kernel, processes and network with the machine that builds: an answer to
such a question would be about that machine, or a stand-in's, and a test that rests on it passes or fails for
nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import msgspec
from _pytest.outcomes import Failed

ON_A_NODE = "check it on a node, at rollout"


class Refused(Failed):
    """Fails the test that asked, also one that catches every ``Exception``."""


class Refusal(msgspec.Struct, frozen=True):
    """Why something is refused and what to do instead."""

    why: str
    instead: str = ON_A_NODE

    def about(self, subject: str) -> str:
        """The text that the author of the test reads."""
        return f"refused in an image: {subject}: {self.why}; {self.instead}"


NOTHING_RUNS = Refusal("nothing runs in an image")
BUILDERS_KERNEL = Refusal("this is the kernel, or the hardware, of the machine that builds")
BUILDERS_NETWORK = Refusal("an image has no network; its interfaces come with the node")
BUILDERS_MOUNTS = Refusal(
    "these are the mounts of the chroot", "read host.file('/etc/fstab'), or check it on a node, at rollout"
)
NOT_THIS_IMAGE = Refusal(
    "this speaks about another machine or a running system",
    "leave it out here, or check it on a node, at rollout",
)
ENVIRONMENT = Refusal(
    "these are the variables of the chroot",
    "read the image's files in /etc, or check it on a node, at rollout",
)
UNKNOWN = Refusal(
    "nobody has said yet whether this can be true in an image", "classify it in pipeline.verify.adapter"
)
BUILDERS_FILES = Refusal("this directory is not the image's, the chroot has its own there")
START_OR_STATUS = Refusal("nothing runs in an image and nothing is started there")
STARTERS = {"service", "rc-service", "invoke-rc.d"}
BY_SU = Refusal("tests run as root", "use host.run('su -s /bin/sh -c %s USER', …)")


def _all(names: str, refusal: Refusal) -> dict[str, Refusal]:
    return dict.fromkeys(names.split(), refusal)


PROGRAMS: dict[str, Refusal] = {
    **_all(
        """
        ps pgrep pkill pidof pidstat top htop w who uptime lsof fuser kill killall
        initctl start stop restart reload status runlevel rc-status supervisorctl crm_mon pcs
        systemctl journalctl loginctl machinectl busctl hostnamectl timedatectl ntpq chronyc
        docker podman kubectl virsh salt salt-call puppet ansible
        neutron nova openstack rabbitmqctl ceph
        """,
        NOTHING_RUNS,
    ),
    **_all(
        """
        sysctl lsmod modprobe insmod rmmod dmesg facter lspci lsusb lscpu lsblk blkid dmidecode hwinfo lshw
        free vmstat iostat numactl nproc smartctl mdadm pvs vgs lvs ethtool getenforce sestatus
        flint mst mstflint mlxconfig mlxfwmanager ibstat ibstatus ibv_devinfo ibv_devices ibdev2netdev
        """,
        BUILDERS_KERNEL,
    ),
    **_all(
        """
        ip ifconfig ifup ifdown route arp ss netstat ping ping6 traceroute curl wget nc ncat telnet
        dig host nslookup iptables ip6tables iptables-save ip6tables-save nft ipset brctl bridge tc
        ovs-vsctl ibping ibnetdiscover smpquery sminfo
        """,
        BUILDERS_NETWORK,
    ),
    **_all("mount umount findmnt mountpoint df swapon", BUILDERS_MOUNTS),
}
"""Programs that tests may not run, by name."""

READS_FILES: dict[str, set[str]] = {
    "systemctl": {"is-enabled", "list-unit-files", "cat", "get-default", "enable", "disable"},
    "modprobe": {"-c", "--showconfig", "-n", "--dry-run", "-D", "--show-depends"},
}
"""Arguments with which an otherwise refused program only reads files of the image."""

HARMLESS = ({"--version"}, {"--help"})
WRAPPERS = {"env", "exec", "command", "nice", "nohup", "time", "timeout", "setsid", "stdbuf", "sudo", "xargs"}
OPTIONS_WITH_VALUE = {"-u", "-n", "-k", "-s", "-g", "-I", "-L", "-P", "-d", "-i", "-o", "-e"}
KEYWORDS = {"!", "{", "}", "if", "then", "elif", "else", "while", "until", "do"}
SHELLS = {"sh", "bash", "dash", "ksh"}
PATTERN_FIRST = {"grep", "egrep", "fgrep", "sed", "awk"}
ONLY_TEXT = {"echo", "printf"}
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
NUMBER = re.compile(r"[\d.]+[smhd]?")
SUBSTITUTION = re.compile(r"\$\((?!\()|`|<\(|>\(")
OPERATORS = re.compile(r"[;&|()\n]+")
FOREIGN = re.compile(r"(/\.?)*/(proc(?!/self(/|$)|/?$)|(sys|dev)(?!/?$))/.*", re.DOTALL)
PLAIN_DEVICES = re.compile("/dev/(null|zero|full|random|urandom|tty|stdin|stdout|stderr|fd/.*)")


def file_refusal(path: str) -> Refusal | None:
    """Why a test can't ask about this file: it is below /proc (but for /proc/self), /sys or /dev."""
    return BUILDERS_FILES if FOREIGN.fullmatch(path) and not PLAIN_DEVICES.fullmatch(path) else None


def command_refusal(command: str) -> tuple[str, Refusal] | None:
    """What in a shell command is refused, and why; None when nothing is.

    Looks at each simple command of the line, behind ``sudo``, ``env`` and the like, in ``sh -c`` texts and
    in substitutions; not at what the image's own scripts run.
    """
    return next((found for words in _simple_commands(command) if (found := _of_words(words))), None)


def _of_words(words: list[str]) -> tuple[str, Refusal] | None:
    while words and (words[0] in KEYWORDS or ASSIGNMENT.match(words[0])):
        words = words[1:]
    if not words:
        return None
    name, rest = words[0].rsplit("/", 1)[-1], words[1:]
    arguments = [word for word in rest if not word.startswith("-")]
    if name == "command" and rest[:1] in (["-v"], ["-V"]):
        return None
    if name in WRAPPERS:
        return _of_words(_wrapped(rest))
    if name in SHELLS:
        if any(word.startswith("-") and word.endswith("c") for word in rest):
            return command_refusal(arguments[0]) if arguments else None
        return None if "-n" in rest else _of_words(arguments)
    subject = " ".join(words)
    if set(rest) in HARMLESS:
        return None
    if name in READS_FILES and READS_FILES[name] & set(rest):
        return None
    if name in PROGRAMS:
        return subject, PROGRAMS[name]
    if arguments and (name in STARTERS or "/init.d/" in words[0]):
        return subject, START_OR_STATUS
    if name in ONLY_TEXT:
        return None
    read = arguments[1:] if name in PATTERN_FIRST else arguments
    return next(((subject, refusal) for word in read if (refusal := file_refusal(word))), None)


def _wrapped(words: list[str]) -> list[str]:
    """The command that ``env``, ``timeout`` and the like start: without their own options and numbers."""
    while words and (words[0].startswith("-") or NUMBER.fullmatch(words[0])):
        words = words[2:] if words[0] in OPTIONS_WITH_VALUE else words[1:]
    return words


def _simple_commands(command: str) -> Iterator[list[str]]:
    """The words of each simple command; a text that can't be told apart is taken word by word."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";&|()\n<>")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        tokens = list(lexer)
    except ValueError:
        yield from (part.split() for part in OPERATORS.split(command))
        return
    words: list[str] = []
    for token in tokens:
        if OPERATORS.fullmatch(token) or token.endswith("$"):
            yield words
            words = []
        elif not set(token) <= set("<>&"):
            words.append(token)
            for part in SUBSTITUTION.split(token)[1:]:
                yield from _simple_commands(part)
    yield words
