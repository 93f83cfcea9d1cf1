#!/usr/bin/env bash
# Builds the wheel, installs it with and without its server parts, and tries both.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$PWD/.venv/bin/python

# The builder tells the path of the wheel on stderr: shown only when there is none.
"$python" -m hatchling build -t wheel -d "$work" >"$work/build" 2>&1 || { cat "$work/build"; exit 1; }
wheel=$(ls "$work"/*.whl)

names=$("$python" -m zipfile -l "$wheel" | cut -d' ' -f1)
for file in credproof/data/uci-first-2000.csv.gz credproof/data/uci.mapping.yaml \
    credproof/data/schemas/consumer-revolving.yaml credproof/data/policies/revolving-standing.yaml \
    credproof/data/texts/zh.yaml credproof/data/json-schemas/verify-result.json credproof/py.typed \
    credproof/page/static/index.html credproof/page/static/page.js \
    credproof_server/py.typed credproof_server/storage/migrations/main/env.py \
    credproof_server/storage/migrations/main/versions/m0001_first_tables.py; do
    grep -qxF "$file" <<<"$names" || { echo "wheel: lacks $file"; exit 1; }
done
echo "wheel: built, with every file that it must hold"

# The lock without hashes: versions only, as constraints for pip.
grep -E '^[a-zA-Z0-9._-]+==' requirements.lock | sed 's/ *\\$//; s/ *;.*//' >"$work/constraints"

"$python" -m venv --without-pip "$work/env"
credproof=$work/env/bin/credproof
try() {
    "$python" -m pip --python "$work/env/bin/python" -q --disable-pip-version-check \
        install --no-compile -c "$work/constraints" "$1"
    "$credproof" --help >/dev/null
}

# A command whose parts are not there says in one line what to install.
lacks() {
    local command=$1 extra=$2 code=0
    "$credproof" "$command" somewhere >"$work/out" 2>"$work/err" || code=$?
    if [ $code -ne 2 ] || [ -s "$work/out" ] || [ "$(wc -l <"$work/err")" -ne 1 ] ||
        ! grep -qF "credproof[$extra]" "$work/err"; then
        echo "wheel: without its parts, $command must say in one line what to install; it said:"
        cat "$work/out" "$work/err"
        exit 1
    fi
}

try "$wheel"
lacks serve server
lacks consent-page page

try "$wheel[server,page]"
"$credproof" serve --help >/dev/null
"$credproof" consent-page --help >/dev/null
(cd "$work" && "$credproof" demo --clients 3 --json >"$work/demo.json")
grep -q '"operator": true' "$work/demo.json"
echo "wheel: works, installed with and without its parts"
