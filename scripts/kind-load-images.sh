#!/usr/bin/env bash
# Loads the images that `cargo xtask images` wrote into the nodes of a kind cluster.
set -euo pipefail

name=gardener-local
dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/dist

usage() {
  cat <<EOF
Loads the archives in DIR into the nodes of a kind cluster.

Usage: ${0##*/} [--name CLUSTER] [--dir DIR] [--help]

  --name  name of the kind cluster (${name})
  --dir   where \`cargo xtask images\` wrote the archives (${dir})
EOF
}

while [[ $# -gt 0 ]]; do
  case "$1" in
    --help | -h)
      usage
      exit 0
      ;;
    --name | --dir)
      if [[ $# -lt 2 ]]; then
        echo "$1 needs a value" >&2
        exit 2
      fi
      if [[ $1 == --name ]]; then name=$2; else dir=$2; fi
      shift 2
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
done

shopt -s nullglob
archives=("$dir"/gardener-extension-cri-resmgr*.oci.tar "$dir"/gardener-extension-cri-resmgr*.docker.tar)
if [[ ${#archives[@]} -eq 0 ]]; then
  echo "no archives in $dir: run \`cargo xtask images\` first" >&2
  exit 1
fi
for archive in "${archives[@]}"; do
  # Both forms of an image hold one name, which in a node belongs to what was loaded last: an old build would take it from a new one.
  case "$archive" in
    *.oci.tar) other=${archive%.oci.tar}.docker.tar ;;
    *) other=${archive%.docker.tar}.oci.tar ;;
  esac
  if [[ $other -nt $archive ]]; then
    echo "leaving out $archive: $other is newer"
    continue
  fi
  echo "loading $archive"
  kind load image-archive "$archive" --name "$name"
done
