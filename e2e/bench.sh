#!/usr/bin/env bash
# make bench: measures on this machine and writes docs/BENCHMARKS.md. Arguments go to the program (see -help):
#   e2e/bench.sh -only faults,rows     measures these alone and prints them; docs/BENCHMARKS.md stays as it is
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ ! -x bin/discompose ]; then
  echo 'bench: bin/discompose is missing: run make bench, or make build first' >&2
  exit 2
fi
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
if [ -n "$(git status --porcelain 2>/dev/null | grep -v 'docs/BENCHMARKS.md')" ]; then
  commit="$commit, with changes that are not committed"
fi
CGO_ENABLED=0 go build -trimpath -o bin/bench ./e2e/bench
exec ./bin/bench -commit "$commit" "$@"
