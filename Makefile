# Two commands: `make book` and `make test`. Name another interpreter with PYTHON=/path/to/python3.13,
# some chapters with CHAPTERS="00 12", the published sizes with PROFILE=full.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import ensurepip, venv' 2>/dev/null && echo $$p && break; done)
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PROFILE ?= laptop
ROOT_FLAG := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: book test acceptance lab bench install clean

book: $(STAMP)
	@$(PY) -m book.build --profile $(PROFILE) $(CHAPTERS)

test: $(STAMP)
	@SRLIB_COVERAGE=1 OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --no-loadscope-reorder

acceptance: $(STAMP)
	@$(PY) -m pytest -m slow

lab: $(STAMP)
	@$(PY) -m jupyterlab notebooks/00_tour.ipynb $(ROOT_FLAG) $(FLAGS)

bench: $(STAMP)
	@$(PY) -m benchmarks

install: $(STAMP)

clean:
	rm -rf _build results/*.json results/*.png

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: install it, or name it with \
	'make book PYTHON=/path/to/python3.13'." >&2; exit 1; }
	@$(PYTHON) book/install.py
	@touch $(STAMP)
