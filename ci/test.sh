#!/bin/sh
# Every test, on all cores. Builds the lab first when it is not there: most of them stand on it.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/pipeline lab build
exec .venv/bin/python -m pytest -n "$(nproc)" --dist loadgroup --durations 15 "$@"
