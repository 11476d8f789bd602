#!/usr/bin/env bash
# make test-all: every scenario of the catalogue, RUNS times each (default 1), in one call. It goes on where it was stopped:
# what has passed with this very build and scenario is not run again (FRESH=1 forgets that). PARALLEL=N, or auto, carries out
# several runs at a time.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
runs=runs/test-all
[ -z "${FRESH:-}" ] || rm -rf "$runs"
./bin/discompose --runs-dir "$runs" --no-color run --all --resume --runs "${RUNS:-1}" --parallel "${PARALLEL:-1}" --junit "$runs/junit.xml"
code=$?
if [ "$code" = 69 ]; then
  echo 'nothing failed; what has no verdict is skipped: its environment cannot be had here'
  exit 0
fi
exit "$code"
