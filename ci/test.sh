#!/bin/sh
# Every test, on all cores.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/python -m pytest -n "$(nproc)" --dist loadgroup --durations 15 "$@"
