#!/usr/bin/env bash
# make test: vet, unit tests, a fuzz smoke, and a sample of end-to-end tests. Prints what was skipped and why, and
# closes with one line of counts.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
log=$(mktemp) flaky=$(mktemp)
trap 'rm -f "$log" "$flaky"' EXIT
failed=0

# step NAME COMMAND... : runs it, keeps its output for the counts, and goes on after a failure.
step() {
  local name=$1 began=$SECONDS; shift
  printf '== %s\n' "$name"
  if "$@" 2>&1 | tee -a "$log" | grep -Ev '^(=== (RUN|PAUSE|CONT|NAME)|\s*--- PASS|PASS$)|no test files'; [ "${PIPESTATUS[0]}" -eq 0 ]; then
    printf '== %s: ok (%d s)\n' "$name" $((SECONDS - began))
  else
    printf '== %s: FAILED (%d s)\n' "$name" $((SECONDS - began)); failed=1
  fi
}

step 'vet' go vet ./...
step 'vet, e2e' go vet -tags e2e ./...
step 'gofmt' bash -c 'bad=$(gofmt -l $(git ls-files "*.go")); [ -z "$bad" ] || { echo "not formatted: $bad"; exit 1; }'
step 'unit' go test -v ./...
step 'fuzz, parser' go test -run '^$' -fuzz '^FuzzParse$' -fuzztime "${FUZZTIME:-10s}" -fuzzminimizetime 5x ./scenarios
if docker version >/dev/null 2>&1 || curl -s --unix-socket /var/run/docker.sock http://localhost/_ping >/dev/null 2>&1; then
  step 'e2e' make --no-print-directory e2e E2EFORMAT=standard-verbose FLAKY="$flaky"
else
  echo '== e2e: SKIPPED: no Docker engine answers'
fi

# With -v the reason stands on the line before the verdict.
skips=$(grep -B1 -E '^\s*--- SKIP' "$log" | grep -vE '^(--|=== .*)$')
if [ -n "$skips" ]; then
  printf '== skipped tests and why\n%s\n' "$skips"
fi
if [ -s "$flaky" ]; then
  printf '== failed, and ran once more: find out why, a flaky test is a bug here or in discompose\n%s\n' "$(cat "$flaky")"
  [ -z "${GITHUB_ACTIONS:-}" ] || sed 's/^/::warning title=flaky::/' "$flaky"
fi
printf '%d passed, %d failed, %d skipped\n' "$(grep -cE '^\s*--- PASS' "$log")" "$(grep -cE '^\s*--- FAIL' "$log")" "$(grep -cE '^\s*--- SKIP' "$log")"
exit "$failed"
