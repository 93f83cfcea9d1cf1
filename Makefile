# Every target sets up what it needs in .venv/; nothing of the set-up is printed on stdout.
.SILENT:
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check proto bench profile lock clean

PYTHON ?= python3
ARGS ?=
ROW ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
STAMP := $(VENV)/.installed

help:
	echo "make demo    show the whole journey on real data, and six lies that are caught"
	echo "make test    run the tests"
	echo "make check   lint, types, stubs, help texts, house rules"
	echo "make proto   rebuild the protobuf and gRPC stubs from proto/"
	echo "make bench   measure (ROW='text' for rows whose name holds it)"
	echo "make profile ROW='text': where the CPU time of a row's subject goes"
	echo "make lock    bring requirements.lock to what pyproject.toml asks for"
	echo "make clean   remove .venv and everything built"
	echo
	echo "make TARGET ARGS='...' passes arguments on, for demo, test and bench."
	echo "PYTHON=python3.12 chooses the interpreter for .venv (3.11 or newer)."

$(STAMP): requirements.lock pyproject.toml
	command -v "$(PYTHON)" >/dev/null || \
		{ echo "error: $(PYTHON) is not installed: Python 3.11 or newer is needed" >&2; exit 1; }
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >&2 || \
		{ echo "error: $(PYTHON) is too old: Python 3.11 or newer is needed, set PYTHON=..." >&2; exit 1; }
	"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "error: $(PYTHON) has no venv module: install python3-venv" >&2; exit 1; }
	echo "setting up: $(VENV)" >&2
	"$(PYTHON)" -m venv $(VENV) >&2
	echo "setting up: the locked requirements (some minutes the first time)" >&2
	$(PIP) install --require-hashes -r requirements.lock >&2
	echo "setting up: credproof" >&2
	$(PIP) install --no-deps --no-build-isolation -e . >&2
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/credproof demo $(ARGS)

test: $(STAMP)
	$(BIN)/pytest -n auto $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy client/credproof server/credproof_server tools
	$(BIN)/python tools/proto.py --check
	$(BIN)/python tools/readme_help.py
	$(BIN)/python tools/house.py
	$(BIN)/pytest -n auto tests/house

proto: $(STAMP)
	$(BIN)/python tools/proto.py

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(if $(ROW),--row "$(ROW)") $(ARGS)

profile: $(STAMP)
	$(BIN)/python -m benchmarks --profile $(if $(ROW),--row "$(ROW)") $(ARGS)

lock: $(STAMP)
	env -u PIP_FIND_LINKS $(BIN)/pip-compile -q --all-extras --generate-hashes --allow-unsafe \
		--no-emit-index-url --no-emit-find-links --no-emit-options --no-header \
		-o requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find client server tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
