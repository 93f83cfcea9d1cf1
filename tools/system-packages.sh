#!/usr/bin/env bash
# Installs the system packages that the project needs, only where they are missing and we may
# install them: Python's venv module, strace for one test, and a browser with its driver for those
# of the consent page. Without them these tests are skipped; those of the page fail where CI is set.
set -euo pipefail

if ! command -v strace >/dev/null && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends strace; } >/dev/null ||
        echo "strace is not installed: one test will be skipped" >&2
fi

if ! { command -v chromium && command -v chromedriver; } >/dev/null; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends \
            chromium chromium-driver; } >/dev/null || true
    fi
    command -v chromedriver >/dev/null ||
        echo "chromium and chromium-driver are not installed: tests of the page will be skipped" >&2
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
