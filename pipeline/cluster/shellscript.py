"""The shell that waits on a node for commands: one connection, whatever is asked.

It is for /bin/sh and the coreutils of EL6 and newer. It reads frames, a line and so many bytes:

================================== ===================================================================
``run NUMBER SECONDS SIZE``        run the text that follows, for at most so long
``put NAME - SIZE``                keep what follows as a file for later commands, in $PIPELINE_FILES
================================== ===================================================================

and prints lines ``@pipeline:SIGN WORD …``: ``hello``, ``begin NUMBER``, ``out NUMBER BASE64``, ``err NUMBER
BASE64``, ``end NUMBER CODE``. Lines without the sign are ssh's own, or a greeting's. What a command prints
is never taken for one: it is base64. It ends at the end of its input, or with the connection, and leaves
nothing on the node.
"""

from __future__ import annotations

import shlex

SIGN = "@pipeline:"
LONGEST = 3000
"""Characters of base64 in a line; a multiple of 4, so that each line stands for itself."""

MOST_KIB = 32 << 10
"""What a command may write to a file or print; more ends it with SIGXFSZ."""

TIMED_OUT = 124
"""What timeout(1) exits with."""

FILES = "$PIPELINE_FILES"
"""Where the files of ``put`` are, for commands."""

_LOOP = """\
umask 077
PIPELINE_FILES=$(mktemp -d /dev/shm/pipeline.XXXXXX 2>/dev/null || mktemp -d /tmp/pipeline.XXXXXX) || exit 71
trap 'rm -rf "$PIPELINE_FILES"' 0
trap 'exit 70' 1 2 13 15
export PIPELINE_FILES
here=$PIPELINE_FILES
cd /
say() { echo "$sign $*"; }
told() { [ ! -s "$here/.$1" ] || base64 -w LONGEST "$here/.$1" | sed "s|^|$sign $1 $2 |"; }
say hello
while read -r word name seconds size; do
    head -c "$size" >"$here/.in"
    case $word in
    put) mv "$here/.in" "$here/$name" ;;
    run)
        say begin "$name"
        (umask 022; ulimit -f MOST; exec timeout "$seconds" /bin/sh "$here/.in") \\
            </dev/null >"$here/.out" 2>"$here/.err"
        code=$?
        told out "$name"
        told err "$name"
        say end "$name" $code
        ;;
    esac
done
""".replace("LONGEST", str(LONGEST)).replace("MOST", str(MOST_KIB))


def script(sign: str) -> str:
    """What ssh is given for a node; ``sign`` is one word that nobody else knows."""
    path = "PATH=${PATH:+$PATH:}/sbin:/usr/sbin:/bin:/usr/bin:/usr/local/sbin LC_ALL=C\nexport PATH LC_ALL\n"
    return f"exec /bin/sh -c {shlex.quote(f'{path}sign={shlex.quote(SIGN + sign)}{chr(10)}{_LOOP}')}"


def run_frame(number: int, command: str, seconds: float) -> bytes:
    """Have the shell run ``command`` for at most ``seconds``."""
    text = command.encode(errors="surrogateescape")
    return b"run %d %d %d\n" % (number, max(1, round(seconds)), len(text)) + text


def put_frame(name: str, content: bytes) -> bytes:
    """Have the shell keep ``content``; ``name`` is a plain word."""
    return b"put %s - %d\n" % (name.encode(), len(content)) + content
