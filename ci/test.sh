#!/bin/sh
# Every test. One process more than there are cores: tests that wait for nodes leave room for it.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/python -m pytest -n "$(($(nproc) + 1))" --dist loadgroup --durations 15 "$@"
