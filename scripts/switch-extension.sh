#!/usr/bin/env bash
# Switches the cri-resmgr extension on or off in one Shoot, and leaves the Shoot's other extensions alone.
set -euo pipefail

readonly TYPE=cri-resmgr-extension
namespace=garden-local
shoot=local
disabled=

usage() {
  cat <<EOF
Switches the extension ${TYPE} on or off in a Shoot.

Usage: ${0##*/} on|off [--namespace NAMESPACE] [--shoot NAME] [--help]
       enable-extension.sh and disable-extension.sh are the same with the first word given.

  --namespace  namespace of the Shoot in the garden cluster (${namespace})
  --shoot      name of the Shoot (${shoot})

KUBECONFIG must point to the garden cluster.
EOF
}

while [[ $# -gt 0 ]]; do
  case "$1" in
    --help | -h)
      usage
      exit 0
      ;;
    on)
      disabled=false
      shift
      ;;
    off)
      disabled=true
      shift
      ;;
    --namespace | --shoot)
      if [[ $# -lt 2 ]]; then
        echo "$1 needs a value" >&2
        exit 2
      fi
      if [[ $1 == --shoot ]]; then shoot=$2; else namespace=$2; fi
      shift 2
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
done
if [[ -z $disabled ]]; then
  usage >&2
  exit 2
fi

types=$(kubectl --namespace "$namespace" get shoot "$shoot" --output 'jsonpath={range .spec.extensions[*]}{.type}{"\n"}{end}')
index=0
found=
while IFS= read -r type; do
  if [[ $type == "$TYPE" ]]; then
    found=$index
    break
  fi
  index=$((index + 1))
done <<<"$types"

entry="{\"type\":\"$TYPE\",\"disabled\":$disabled}"
if [[ -n $found ]]; then
  # The test fails when somebody changed the list in the meantime.
  patch="[{\"op\":\"test\",\"path\":\"/spec/extensions/$found/type\",\"value\":\"$TYPE\"},
          {\"op\":\"add\",\"path\":\"/spec/extensions/$found/disabled\",\"value\":$disabled}]"
elif [[ -n $types ]]; then
  patch="[{\"op\":\"add\",\"path\":\"/spec/extensions/-\",\"value\":$entry}]"
else
  patch="[{\"op\":\"add\",\"path\":\"/spec/extensions\",\"value\":[$entry]}]"
fi
kubectl --namespace "$namespace" patch shoot "$shoot" --type json --patch "$patch"
