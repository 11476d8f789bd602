#!/usr/bin/env bash
# Builds the versions that the known bugs need from their Go modules, each pinned in a module of its own, as images of the
# public names. What the engine has already is left; REBUILD=1 builds it anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# folder, image, binary in it, how the public image names it (ENTRYPOINT or CMD), package
while read -r folder image binary start package; do
  if [ -z "${REBUILD:-}" ] && docker image inspect "$image" >/dev/null 2>&1; then
    continue
  fi
  echo "build $image"
  out=$(mktemp -d)
  (cd "$folder" && CGO_ENABLED=0 GOWORK=off go build -trimpath -ldflags '-s -w' -o "$out/$binary" "$package")
  printf 'FROM scratch\nCOPY %s /usr/local/bin/%s\nENV PATH=/usr/local/bin\n%s ["/usr/local/bin/%s"]\n' "$binary" "$binary" "$start" "$binary" >"$out/Dockerfile"
  docker build -q -t "$image" "$out" >/dev/null 2>"$out/log" || { cat "$out/log"; exit 1; }
  rm -r "$out"
done <<'LIST'
nats-2.10.20 nats:2.10.20 nats-server ENTRYPOINT github.com/nats-io/nats-server/v2
nats-2.10.23 nats:2.10.23 nats-server ENTRYPOINT github.com/nats-io/nats-server/v2
etcd-3.5.2 quay.io/coreos/etcd:v3.5.2 etcd CMD go.etcd.io/etcd/server/v3
etcd-3.5.3 quay.io/coreos/etcd:v3.5.3 etcd CMD go.etcd.io/etcd/server/v3
LIST
