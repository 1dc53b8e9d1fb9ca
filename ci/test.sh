#!/bin/sh
# Every test. One process more than there are cores: tests that wait for nodes leave room for it.
# They see mounts of their own, which end with them, and where there is memory enough their files lie in it; what
# fails is looked at by running that test alone: .venv/bin/python -m pytest TEST.
set -eu
cd "$(dirname "$0")/.."
jobs=$(($(nproc) + 1))
set -- .venv/bin/python -m pytest -n "$jobs" --dist loadgroup --durations 15 "$@"
available=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
if [ "$(id -u)" != 0 ] || [ "$available" -lt 12 ]; then
    exec "$@"
fi
place=$(mktemp -d)
trap 'rmdir "$place"' EXIT
# As systemd has it on most machines: what is mounted is seen by all who share, but nothing gets out of here.
unshare --mount --propagation slave sh -euc '
    mount --make-rshared /
    place=$1 size=$2
    shift 2
    mount -t tmpfs -o "size=${size}g" tests "$place"
    exec "$@" --basetemp="$place/tests" -o tmp_path_retention_policy=failed
' sh "$place" "$((available / 2))" "$@"
