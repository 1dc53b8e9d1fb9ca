#!/bin/sh
# Installs what this machine lacks, saying what, and puts the command at .venv/bin/pipeline.
# Debian, Ubuntu and EL. With --dev also what the tests and the linters need. A second run takes a moment.
set -eu
cd "$(dirname "$0")/.."
dev=0
[ "${1:-}" = --dev ] && dev=1

if [ "$(id -u)" != 0 ]; then
    echo "setup: building images takes root: it makes chroots, device nodes and mounts" >&2
    echo "  run: sudo make ${MAKECMDGOALS:-image}" >&2
    exit 3
fi

if command -v apt-get >/dev/null; then
    manager=apt
elif command -v dnf >/dev/null; then
    manager=dnf
else
    echo "setup: neither apt-get nor dnf is here; Debian, Ubuntu and EL 8 or newer are what this runs on" >&2
    exit 3
fi

python=
for candidate in python3.14 python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null &&
        "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done

# program, its package on Debian and Ubuntu, its package on EL
lacking=
need() {
    command -v "$1" >/dev/null && return
    case $manager in apt) lacking="$lacking $2" ;; dnf) lacking="$lacking $3" ;; esac
}
need find findutils findutils
need rpm rpm rpm
need rpmbuild rpm rpm-build
need createrepo_c createrepo-c createrepo_c
need ssh openssh-client openssh-clients
[ -n "$python" ] || case $manager in apt) lacking="$lacking python3 python3-venv" ;; dnf) lacking="$lacking python3.11" ;; esac
if [ $dev = 1 ]; then
    need buildah buildah buildah
    need mkfs.xfs xfsprogs xfsprogs
    need rsync rsync rsync
    need zip zip zip
    # EL's own repositories have neither; what they serve takes the lab, which is made of Debian's packages.
    if [ $manager = apt ]; then
        need mkfs.btrfs btrfs-progs -
        need genisoimage genisoimage -
    fi
fi

if [ -n "$lacking" ]; then
    lacking=$(printf '%s\n' $lacking | sort -u | tr '\n' ' ')
    echo "setup: installing $lacking"
    log=$(mktemp)
    case $manager in
        apt) { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $lacking; } >"$log" 2>&1 ;;
        dnf) dnf install -y $lacking >"$log" 2>&1 ;;
    esac || { tail -20 "$log" >&2; echo "setup: the packages above could not be installed" >&2; exit 3; }
    rm -f "$log"
    [ -n "$python" ] || python=$(command -v python3.11 || command -v python3)
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: Python 3.11 or newer is needed; this machine's newest is $("$python" --version)" >&2
    exit 3
}

# The stamp holds what was installed: another pyproject.toml installs again. Its first line is what .venv is
# bound to, its place and its interpreter: in a clone that was copied or moved, .venv is made anew, for its
# programs name the old place and would install there. An update of the same Python's release binds nothing new.
extra=; [ $dev = 1 ] && extra='[dev]'
bound="$(pwd) $("$python" -c 'import sys; print(sys.base_prefix, *sys.version_info[:2])')"
if [ -e .venv.before ]; then # a setup was killed
    rm -rf .venv
    mv .venv.before .venv
fi
failed() {
    if [ -e .venv.before ]; then
        rm -rf .venv
        mv .venv.before .venv
    fi
    echo "setup: the command could not be installed, see above" >&2
    [ ! -x .venv/bin/pipeline ] || echo "  what was there before is as it was: .venv/bin/pipeline" >&2
    exit 3
}
want="$bound
$(cat pyproject.toml)"
stamp=.venv/installed$extra
if [ ! -x .venv/bin/pipeline ] || [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    echo "setup: installing the command into .venv"
    if [ "$(head -n 1 .venv/installed 2>/dev/null)" != "$bound" ]; then
        # What is there serves until a new one is whole: it mounts what is published when the machine boots.
        [ ! -e .venv ] || mv .venv .venv.before
        "$python" -m venv .venv || failed
    fi
    .venv/bin/python -m pip install -qq --disable-pip-version-check \
        --config-settings editable_mode=compat --editable ".$extra" || failed
    rm -rf .venv.before
    printf '%s' "$want" >"$stamp"
    [ $dev = 0 ] || printf '%s' "$want" >.venv/installed
fi
# In place of pip's script, which loads other modules first: Ctrl-C in those moments would be a traceback.
# The kernel reads no first line with a space in it, or a long one: then sh starts the interpreter.
interpreter="$(pwd)/.venv/bin/python"
case $interpreter in
    *[[:space:]]*) long=1 ;;
    *) long=0; [ ${#interpreter} -le 120 ] || long=1 ;;
esac
{
    if [ $long = 1 ]; then
        printf "#!/bin/sh\n'''exec' \"%s\" \"\$0\" \"\$@\"\n' '''\n" "$interpreter"
    else
        printf '#!%s\n' "$interpreter"
    fi
    cat <<'END'
# Made by ci/setup.sh. The same as pipeline/__main__.py, before anything of the package is loaded.
import _signal

held = _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGINT})

from pipeline.interrupts import end_at_once

end_at_once()
_signal.pthread_sigmask(_signal.SIG_SETMASK, held)

from pipeline.cli import run

run()
END
} >.venv/command
if cmp -s .venv/command .venv/bin/pipeline; then
    rm .venv/command
else
    chmod 755 .venv/command
    mv -f .venv/command .venv/bin/pipeline
fi
# Also where the environment forbids Python to keep bytecode as it goes: without it each start takes longer.
.venv/bin/python -m compileall -q pipeline

# The lab's base images and vendor; a minute or two the first time, nothing afterwards.
if grep -q '^\[lab\]' pipeline.toml; then
    if [ $manager = apt ]; then
        .venv/bin/pipeline lab build >/dev/null
    else
        echo "setup: the lab takes Debian or Ubuntu; write a site of your own into pipeline.toml (docs/bright.toml)"
    fi
fi
