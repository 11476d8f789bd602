#!/bin/sh
set -e
while :; do
  printf 'GET visits\r\nQUIT\r\n' | nc -w 1 "$REDIS_HOST" "$REDIS_PORT" | grep -q OK
  date > /archive/last
  sleep "$EVERY"
done
