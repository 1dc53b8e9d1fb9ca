# make image            build, test and publish all images (IMAGE=name: only that one)
# make rollback IMAGE=x  publish the previous version again
# make test             lint and every test
# make bench            the benchmark; prints ratios, keeps raw figures in .pipeline/bench
PIPELINE := .venv/bin/pipeline

.PHONY: setup setup-dev image rollback test lint bench

setup:
	@ci/setup.sh

setup-dev:
	@ci/setup.sh --dev

image: setup
	$(PIPELINE) build $(IMAGE)

rollback: setup
	@test -n "$(IMAGE)" || { echo "make rollback IMAGE=name" >&2; exit 2; }
	$(PIPELINE) rollback $(IMAGE)

lint: setup-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

test: lint
	ci/test.sh

bench: setup-dev
	.venv/bin/python -m tests.bench
