#!/usr/bin/env bash
# make test-all: every scenario of the catalogue, RUNS times each (default 1). It goes on where it was stopped: what has
# passed with this very binary and scenario is not run again (FRESH=1 forgets that).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
runs=${RUNS:-1} state=runs/test-all
[ -z "${FRESH:-}" ] || rm -rf "$state"
mkdir -p "$state"
binary=$(sha256sum bin/discompose | cut -c1-12)
passed=0 failed=0 skipped=0 began=$SECONDS report=()

for file in scenarios/[a-z]*.toml scenarios/kinds/*.toml; do
  name=${file#scenarios/} name=${name%.toml}
  key=$state/${name//\//-}-$binary-$(sha256sum "$file" | cut -c1-12)
  for ((i = 1; i <= runs; i++)); do
    if [ -e "$key-$i" ]; then
      printf '%-28s %d/%d  passed before\n' "$name" "$i" "$runs"; passed=$((passed + 1)); continue
    fi
    start=$SECONDS
    ./bin/discompose run "$file" --no-color >"$key-$i.out" 2>&1; code=$?
    verdict=$(cat runs/latest/verdict 2>/dev/null)
    if [ $code = 0 ]; then
      mv "$key-$i.out" "$key-$i"; passed=$((passed + 1))
    elif [ $code = 69 ]; then
      verdict="skipped: $(grep '^discompose:' "$key-$i.out" | head -n 1)"; skipped=$((skipped + 1)); report+=("$name: $verdict")
    else
      failed=$((failed + 1)); report+=("$name: exit $code, output in $key-$i.out")
    fi
    printf '%-28s %d/%d  exit %-3d %-22s %3d s\n' "$name" "$i" "$runs" "$code" "$verdict" $((SECONDS - start))
  done
done

for line in "${report[@]}"; do echo "$line"; done
printf 'in %d s\n%d passed, %d failed, %d skipped\n' $((SECONDS - began)) "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
