#!/usr/bin/env bash
# Prints a kubeconfig of a Shoot.
set -euo pipefail

namespace=garden-local
shoot=local
output=
seconds=3600

usage() {
  cat <<EOF
Prints an administrator's kubeconfig of a Shoot.

Usage: ${0##*/} [--namespace NAMESPACE] [--shoot NAME] [--seconds N] [--output FILE] [--help]

  --namespace  namespace of the Shoot in the garden cluster (${namespace})
  --shoot      name of the Shoot (${shoot})
  --seconds    how long it is valid (${seconds})
  --output     file to write, readable by its owner alone; standard output without it

Asks for a short-lived one; where Gardener is too old for that, takes the static one.
KUBECONFIG must point to the garden cluster.
EOF
}

while [[ $# -gt 0 ]]; do
  case "$1" in
    --help | -h)
      usage
      exit 0
      ;;
    --namespace | --shoot | --seconds | --output)
      if [[ $# -lt 2 ]]; then
        echo "$1 needs a value" >&2
        exit 2
      fi
      case "$1" in
        --namespace) namespace=$2 ;;
        --shoot) shoot=$2 ;;
        --seconds) seconds=$2 ;;
        --output) output=$2 ;;
      esac
      shift 2
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
done

short_lived() {
  local path=/apis/core.gardener.cloud/v1beta1/namespaces/$namespace/shoots/$shoot/adminkubeconfig
  local request="{\"apiVersion\":\"authentication.gardener.cloud/v1alpha1\",\"kind\":\"AdminKubeconfigRequest\",\"spec\":{\"expirationSeconds\":$seconds}}"
  kubectl create --raw "$path" --filename - <<<"$request" | sed -n 's/.*"kubeconfig":"\([^"]*\)".*/\1/p'
}

static() {
  kubectl --namespace "$namespace" get secret "$shoot.kubeconfig" --output 'jsonpath={.data.kubeconfig}'
}

if ! encoded=$(short_lived) || [[ -z $encoded ]]; then
  encoded=$(static)
fi
if [[ -z $output ]]; then
  base64 --decode <<<"$encoded"
  exit
fi
if [[ -e $output && ! -f $output ]]; then
  echo "--output $output is there, and is no file" >&2
  exit 2
fi
# Written to, a file would keep its mode, and a link lead elsewhere: a new file takes the place of both.
umask 077
temporary=$(mktemp "$(dirname -- "$output")/.kubeconfig.XXXXXXXX")
trap 'rm -f "$temporary"' EXIT
base64 --decode <<<"$encoded" >"$temporary"
mv --force --no-target-directory -- "$temporary" "$output"
