#!/bin/bash
# Sends what is in the outbox over one session: a new one for every mail would be slow.
PGPASSWORD=$(cat /run/secrets/pgpass)
export PGPASSWORD
mkfifo /tmp/statements
psql -XqAt < /tmp/statements &
exec 3<> /tmp/statements # read and write, so that opening does not wait for psql
while sleep 0.1; do
  echo "UPDATE outbox SET sent = now() WHERE sent IS NULL RETURNING 'sent mail ' || id;" >&3
done
