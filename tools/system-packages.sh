#!/usr/bin/env bash
# Installs the system packages that the project needs, only where they are missing and we may
# install them: Python's venv module, and strace for one test, which is skipped without it.
set -euo pipefail

if ! command -v strace >/dev/null && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends strace; } >/dev/null ||
        echo "strace is not installed: one test will be skipped" >&2
fi

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
