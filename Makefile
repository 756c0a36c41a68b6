# Two commands: `make book` and `make test`. Name another interpreter with PYTHON=/path/to/python3.11.
PYTHON ?= $(shell for p in python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PROFILE ?= laptop

.PHONY: book test lab bench clean

book: $(STAMP)
	@$(PY) -m book.build --profile $(PROFILE)

test: $(STAMP)
	@$(PY) -m pytest

lab: $(STAMP)
	@$(PY) -m jupyterlab --notebook-dir=notebooks $(if $(filter 0,$(shell id -u)),--allow-root) $(FLAGS)

bench: $(STAMP)
	@$(PY) -m benchmarks

clean:
	rm -rf _build results/*.json

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it with \
	'make book PYTHON=/path/to/python3.11'." >&2; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	echo "The environment could not be made: install the venv module of $(PYTHON)." >&2; exit 1; }
	@echo "Installing into $(VENV) (once, a few minutes) ..."
	@$(PY) -m pip install -q -c constraints.txt -e '.[book,test]' || { \
	echo "The packages could not be installed: check the network and run the command again." >&2; \
	exit 1; }
	@touch $(STAMP)
