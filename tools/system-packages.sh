#!/usr/bin/env bash
# Installs the system packages that the project needs: only Python's venv module, and only
# where it is missing and we may install it.
set -euo pipefail

python=${PYTHON:-python3}
if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "error: install python3-venv, then run this again" >&2
    exit 1
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends python3-venv
