#!/bin/sh
# Every test. One process more than there are cores: tests that wait for nodes leave room for it.
# Root's see mounts of their own, which end with them, and where there is memory enough their files lie in it; what
# fails is looked at by running that test alone: .venv/bin/python -m pytest TEST.
set -eu
cd "$(dirname "$0")/.."
jobs=$(($(nproc) + 1))
set -- .venv/bin/python -m pytest -n "$jobs" --dist loadgroup --durations 15 "$@"
if [ "$(id -u)" != 0 ]; then
    exec "$@"
fi
if ! unshare --mount true; then
    echo "tests: this root may not mount, and these tests do: give the container CAP_SYS_ADMIN (--privileged)" >&2
    exit 3
fi
# In GiB; of a container's limit, too.
free=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
for limit in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
    if grep -qx '[0-9]\{1,15\}' "$limit" 2>/dev/null; then
        most=$(($(cat "$limit") >> 30))
        [ "$most" -ge "$free" ] || free=$most
    fi
done
if [ "$free" -lt 12 ]; then
    exec "$@"
fi
# What is mounted is seen by all who share, as systemd has it on most machines, but nothing gets out of here.
exec unshare --mount --propagation slave sh -euc '
    mount --make-rshared /
    size=$1
    shift
    mount -t tmpfs -o "size=${size}g" tests /media
    exec "$@" --basetemp=/media/run.$$ -o tmp_path_retention_policy=failed
' sh "$((free / 2))" "$@"
