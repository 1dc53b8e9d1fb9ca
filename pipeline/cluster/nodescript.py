"""What is run on a node: a shell script for /bin/sh of EL6 and newer, and the lines by which it reports.

The work is done by a process of its own session that writes to a file: when the connection, or whoever
started it, ends in the middle, nobody kills an installer that is burning firmware. That process alone holds
the node's lock (its children don't, so that no daemon keeps it), and the script shows what the file gets.

Reports are lines ``@pipeline:RUN WORD …``, RUN being unknown to the installer:

=================================== ==================================================================
``begin WHO``                       the lock was taken
``busy WHO``                        somebody else has it, or runs the installer by hand
``removing PACKAGE …``              these were in the way
``adapter before|after ADDRESS …``  an adapter's ``version=``, ``sriov_en=``, ``total_vfs=``; empty: unknown
``file PATH``                       one of the installer's own logs follows, until ``file-end``
``release NAME``                    what the directory holds (its file ``.mlnx``)
``installed NAME``                  what ``ofed_info -s`` says is installed
``end WHAT CODE``                   how it ended: ``installer``, ``remove``, ``directory``, ``lock``
=================================== ==================================================================
"""

from __future__ import annotations

import shlex

from pipeline.cluster.model import Firmware

SIGN = "@pipeline:"
"""What every report begins with."""

LOCK = "/var/run/pipeline-firmware.lock"
"""On the node. Only root writes in /var/run, and it is empty after a boot."""

LOG = "/var/log/pipeline-firmware.log"
"""On the node: what the last run there printed."""

INSTALLER = "mlnxofedinstall"
_PATH = "PATH=/sbin:/usr/sbin:/bin:/usr/bin LC_ALL=C\n"
BUSY = 75

_WORK = """\
say() { echo "$sign $*"; }
clean() { tr -d '\\r' | head -n 1; }
adapters() {
    tool=$(command -v mstflint || command -v flint)
    for path in /sys/bus/pci/devices/*; do
        [ "$(cat "$path/vendor" 2>/dev/null)" = 0x15b3 ] || continue
        [ -e "$path/physfn" ] && continue
        [ "$(cat "$path/device" 2>/dev/null)" = 0x1004 ] && continue
        case $(cat "$path/class" 2>/dev/null) in 0x02* | 0x0c06* | '') ;; *) continue ;; esac
        device=${path##*/} query= config=
        if [ -n "$tool" ]; then
            query=$("$tool" -d "$device" q 2>/dev/null 9>&-)
            config=$("$tool" -d "$device" dc 2>/dev/null 9>&-)
        fi
        version=$(echo "$query" | sed -n 's/^ *FW Version: *//p' | clean)
        sriov=$(echo "$config" | sed -n 's/^ *sriov_en *= *//p' | clean)
        vfs=$(echo "$config" | sed -n 's/^ *total_vfs *= *//p' | clean)
        say adapter "$1" "$device" "version=$version" "sriov_en=$sriov" "total_vfs=$vfs"
    done
}
unwanted() {
    for package in $remove; do
        rpm -q "$package" >/dev/null 2>&1 9>&- && echo "$package"
    done
}
present=$(unwanted)
if [ -n "$present" ]; then
    say removing $present
    yum remove -y $present 9>&-
    code=$?
    [ $code = 0 ] && [ -n "$(unwanted)" ] && code=1
    [ $code = 0 ] || { say end remove $code; exit 1; }
fi
cd "$directory" || { say end directory 1; exit 1; }
[ -x ./INSTALLER ] || { echo "$directory has no program INSTALLER"; say end directory 1; exit 1; }
adapters before
touch "$log.began"
echo y | ./INSTALLER $options 9>&-
code=$?
find /tmp -maxdepth 2 -user root -type f \\
    '(' -name general.log -o -name fw_update.log -o -name ofed_uninstall.log ')' \\
    -newer "$log.began" 2>/dev/null | while read -r file; do
    say file "$file"
    cat "$file"
    echo
    say file-end
done
rm -f "$log.began"
adapters after
say release "$(head -n 1 .mlnx 2>/dev/null)"
say installed "$(ofed_info -s 2>/dev/null 9>&-)"
say end installer $code
""".replace("INSTALLER", INSTALLER)

_START = """\
umask 077
exec 9>>"$lock" || { say end lock 1; exit 1; }
flock -n 9
case $? in
    0) ;;
    1) say busy "$(cat "$lock")"; exit BUSY ;;
    *) say end lock 1; exit 1 ;;
esac
others=$(pgrep -x INSTALLER | tr '\\n' ' ')
[ -z "$others" ] || { say busy "INSTALLER started by hand, process $others"; exit BUSY; }
echo "$who" >"$lock"
say begin "$who" >"$log"
if command -v setsid >/dev/null; then session=setsid; else session=nohup; fi
$session /bin/sh -c "$work" </dev/null >>"$log" 2>&1 &
worker=$!
exec 9>&-
tail -n +1 -s 0.2 -f --pid=$worker "$log"
wait $worker
""".replace("BUSY", str(BUSY)).replace("INSTALLER", INSTALLER)

_IS_FREE = (
    """\
[ ! -e LOCK ] || flock -n LOCK true || exit BUSY
if pgrep -x INSTALLER >/dev/null; then exit BUSY; fi
""".replace("BUSY", str(BUSY))
    .replace("LOCK", LOCK)
    .replace("INSTALLER", INSTALLER)
)


def is_free() -> str:
    """What ssh is given to learn whether firmware is burnt on a node: it ends with 0, or with ``BUSY``."""
    return f"exec /bin/sh -c {shlex.quote(_PATH + _IS_FREE)}"


def script(order: Firmware, run: str, who: str) -> str:
    """What ssh is given for a node. ``run`` names the run in one word; ``who`` says who started it, and when.

    Every value of ``order`` is one word of the shell, however it is written.
    """
    values = {
        "sign": SIGN + run,
        "who": " ".join(who.split()),
        "lock": LOCK,
        "log": LOG,
        "directory": order.directory,
        "work": _work(order),
    }
    settings = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    exports = "export PATH LC_ALL sign log directory\n"
    whole = _PATH + settings + exports + 'say() { echo "$sign $*"; }\n' + _START
    return f"exec /bin/sh -c {shlex.quote(whole)}"


def _work(order: Firmware) -> str:
    """The lists stand in the text as words: a variable could hold them only without blanks."""
    return _WORK.replace("$remove", shlex.join(order.remove) or "''").replace(
        "$options", shlex.join(order.options)
    )
