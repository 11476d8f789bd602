#!/bin/bash
# Renders the catalogue again and again into the file of its first argument.
set -euo pipefail
PGPASSWORD=$(< /run/secrets/db_password)
export PGPASSWORD
while :; do
  psql -XqAt -c "SELECT json_build_object('at', now(), 'books', json_agg(b)) FROM books b" > "$1.new"
  mv "$1.new" "$1"
  sleep "$EVERY"
done
