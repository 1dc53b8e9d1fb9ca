#!/bin/sh
# The locks of a clone whose site is the lab. They pin what the lab built on this machine, so git keeps none of those
# of the shipped recipes: what is not there is made. At a site of your own locks are committed, and this does nothing.
set -eu
cd "$(dirname "$0")/.."
grep -q '^\[lab\]' pipeline.toml || exit 0
lacking=
for recipe in recipes/*/recipe.toml; do
    folder=${recipe%/recipe.toml}
    [ -e "$folder/recipe.lock" ] || lacking="$lacking ${folder#recipes/}"
done
[ -z "$lacking" ] || exec .venv/bin/pipeline lock $lacking
