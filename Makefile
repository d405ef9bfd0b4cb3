# `make run` serves the project, `make test` runs its tests; `make help` lists the rest.

HOST ?= 127.0.0.1
PORT ?= 8000
T ?=
# Another Django than that of constraints.txt, 6.1, in a virtual environment of its own: docs/support.md.
DJANGO ?=
OTHER_DJANGO = $(filter-out 5.2,$(DJANGO))

# The first Python that runs and is new enough; PYTHON=python3.12 chooses another.
OLDEST = $(if $(OTHER_DJANGO),12,11)
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, $(OLDEST)))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv$(if $(OTHER_DJANGO),-django-$(OTHER_DJANGO))
CONSTRAINTS = $(if $(OTHER_DJANGO),$(VENV)/constraints.txt,constraints.txt)
BIN = $(VENV)/bin
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header \
	--no-emit-index-url --upgrade
# A virtual environment that uv has made has no pip.
INSTALL = $(shell { test -e $(BIN)/pip || ! command -v uv >/dev/null; } && echo $(BIN)/python -m pip install --quiet \
	|| echo uv pip install --quiet --python $(BIN)/python)
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# The page is asked for by the name of this machine when it is served to others.
ifneq ($(HOST),127.0.0.1)
export DJANGO_DEVELOPMENT_HOST = $(HOST)
endif

.PHONY: help install run test coverage soak bench lint format upgrade audit constraints clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Install what the project runs on, and nothing of its tests

run: $(VENV)/.installed .env db.sqlite3 ## Serve on http://127.0.0.1:8000/ (HOST=, PORT=)
	@exec $(BIN)/python manage.py runserver $(HOST):$(PORT)

test: $(VENV)/.installed-dev ## Run the tests (T=tests/test_policy.py for a part, DJANGO=6.1)
	@$(BIN)/python -m pytest $(if $(T),,-n 3 --dist loadfile) $(T)

coverage: $(VENV)/.installed-dev ## Run the tests and measure which lines and branches they reach
	@$(BIN)/python -m pytest $(if $(T),,-n 3 --dist loadfile) --cov --cov-report= --cov-fail-under=0 $(T)
	@echo "realtime: $$($(BIN)/coverage report --format=total --fail-under=0) %, of which the engine:"
	@$(BIN)/coverage report --include='realtime/engine/*'

soak: $(VENV)/.installed-dev ## Run the long tests: load, faults, whole projects
	@$(BIN)/python -m pytest -m soak $(T)

bench: $(VENV)/.installed-dev ## Measure this project and its peers (BENCH="--only echo --rounds 1")
	@$(BIN)/python -m benchmarks $(BENCH)
	@$(BIN)/python -m benchmarks.rooms

lint: $(VENV)/.installed-dev ## Check style, types and import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/.installed-dev ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

upgrade: $(VENV)/.installed ## Replace realtime/engine by a newer one (FROM=path or git URL, VERSION=tag)
	@test -n "$(FROM)" || { echo "The source is missing: make upgrade FROM=<path or git URL of the template>" >&2; exit 1; }
	@$(BIN)/python -m realtime.engine.upgrade "$(FROM)" $(VERSION)
	@$(MAKE) --no-print-directory $(VENV)/.installed-dev
	@$(BIN)/python manage.py check
	@$(BIN)/python manage.py makemigrations --check --dry-run
	@$(MAKE) --no-print-directory test

audit: $(VENV)/.installed-dev ## Check the pinned packages for known vulnerabilities
	@$(INSTALL) "pip-audit>=2.10,<3" -c constraints.txt
	@$(BIN)/pip-audit --requirement constraints.txt --disable-pip --no-deps --progress-spinner=off

constraints: $(VENV)/.installed-dev ## Resolve constraints.txt and uv.lock anew
	@$(INSTALL) uv
	@$(COMPILE) requirements-dev.txt --output-file constraints.txt
	@$(BIN)/uv lock --quiet --upgrade
	@sed -i '1i # The full resolved set of requirements.txt and requirements-dev.txt. Made anew by `make constraints`.' constraints.txt
	@test ! -e .ci/requirements.txt || { \
		$(COMPILE) --no-emit-package pip .ci/requirements.txt --constraint constraints.txt --output-file .ci/constraints.txt && \
		{ echo '# What .ci/requirements.txt needs beyond constraints.txt, pinned. Made anew by `make constraints`.'; \
			grep -vxFf constraints.txt .ci/constraints.txt; } > .ci/constraints.new && \
		mv .ci/constraints.new .ci/constraints.txt; }

clean: ## Remove the virtual environment and what was built
	rm -rf $(VENV) .autobahn build staticfiles .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "This needs Python 3.$(OLDEST) or newer: apt install python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Could not make $(VENV): apt install python3-venv" >&2; exit 1; }

# The same versions, but for Django.
$(VENV)/constraints.txt: constraints.txt constraints-django-$(OTHER_DJANGO).txt | $(VENV)/bin/python
	@{ grep -v '^django==' constraints.txt; cat constraints-django-$(OTHER_DJANGO).txt; } > $@

$(VENV)/.installed: requirements.txt $(CONSTRAINTS) | $(VENV)/bin/python
	@$(INSTALL) -r requirements.txt -c $(CONSTRAINTS)
	@touch $@

$(VENV)/.installed-dev: requirements.txt requirements-tracing.txt requirements-dev.txt $(CONSTRAINTS) | $(VENV)/bin/python
	@$(INSTALL) -r requirements-dev.txt -c $(CONSTRAINTS)
	@touch $@ $(VENV)/.installed

# A signing key of this checkout's own, for development. Made once: `ln` replaces nothing.
.env: | $(VENV)/bin/python
	@umask 077; $(BIN)/python -c 'import secrets; print("DJANGO_DEVELOPMENT_KEY=" + secrets.token_urlsafe(48))' > $@.$$$$ \
		&& { ln $@.$$$$ $@ 2>/dev/null || test -e $@ || mv $@.$$$$ $@; }; made=$$?; rm -f $@.$$$$; exit $$made

# Made once, and migrated again when there are new migrations.
db.sqlite3: $(wildcard realtime/*/migrations/*.py realtime/*/*/migrations/*.py) | $(VENV)/.installed
	@$(BIN)/python manage.py demo
	@if [ -e $@ ]; then touch $@; fi
