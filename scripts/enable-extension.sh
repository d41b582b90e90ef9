#!/usr/bin/env bash
# Switches the cri-resmgr extension on in one Shoot; see switch-extension.sh --help.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/switch-extension.sh" on "$@"
