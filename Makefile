# Everything happens in .venv here; nothing is installed outside the project.
PYTHON ?= python3
PIP ?= $(PYTHON) -m pip
ARGS ?=
COMPOSE ?= docker compose

bin := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export COMPOSE_FILE ?= collector-config/compose.yaml

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test check audit format dist bench bench-memory load top-load collector dashboards pictures up down golden sampler-coverage namespaces-coverage hostile soak constraints site shipped clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.installed-dev ## Install the package, its demo and all tools into .venv

demo: .venv/.installed-demo ## Watch a cache: embedded Valkey, live table (ARGS="--seconds 10", or --faults)
	@$(bin)/otel-redis-cache demo $(ARGS)

test: .venv/.installed-dev ## Run the tests on real servers and a real Collector (ARGS="-k name")
	@collector-config/build-collector >/dev/null || echo "The tests will say what they skip without a Collector."
	$(bin)/python -m pytest $(ARGS)

check: .venv/.installed-dev site ## Lint, format, types, layers, spelling, links, licences, known vulnerabilities
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/pyright --pythonpath $(bin)/python
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/codespell
	$(bin)/python -m tests.dependencies.audit

audit: .venv/.installed-dev ## Licences, pins and known vulnerabilities; fails where no advisories can be had
	$(bin)/python -m tests.dependencies.audit --strict

format: .venv/.installed-dev ## Format the code and repair what ruff can repair
	$(bin)/ruff check --fix-only .
	$(bin)/ruff format .

# Always anew: what Sphinx remembers of a page hides that one it links to is gone.
site: .venv/.installed-dev ## Build the documentation as a site into build/site; a broken link or anchor is an error
	$(bin)/python -m sphinx --fresh-env --write-all --fail-on-warning --quiet --conf-dir docs/site . build/site

dist: .venv/.installed-dev ## Build wheel and sdist into dist/: the same bytes wherever this commit is built
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(bin)/python -m hatchling build --clean

# pyenv's Pythons answer only where they are named.
shipped: .venv/.installed-dev ## The tests on the wheel, on every Python at hand (ARGS="--python 3.13 -- tests/golden")
	PYENV_VERSION=$$(pyenv versions --bare 2>/dev/null | grep '^3\.1' | paste -sd:) $(bin)/nox -s shipped $(ARGS)

bench: .venv/.installed-dev ## Measure what a call costs beside others; writes docs/performance.* (ARGS="--quick")
	$(bin)/python -m benchmarks.overhead $(ARGS)

bench-memory: .venv/.installed-dev ## Measure memory; writes docs/performance.* (ARGS="--commands 10000000")
	$(bin)/python -m benchmarks.memory $(ARGS)

load: .venv/.installed-dev ## What Collectors carry, for a quarter of an hour; writes docs/scale.* (ARGS="--subjects agent")
	@collector-config/build-collector >/dev/null
	$(bin)/python -m benchmarks.load $(ARGS)

top-load: .venv/.installed-dev ## What `top` reads on one processor (ARGS="--rate 100000 --protocol http")
	$(bin)/python -m benchmarks.top $(ARGS)

pictures: .venv/.installed-dev ## Take the picture of `top` anew, of the demo in a browser (needs Debian's chromium)
	PYTHONPATH=$(CURDIR) $(bin)/python docs/pictures.py

collector: ## Find or build a real OpenTelemetry Collector and print its path
	@collector-config/build-collector

dashboards: .venv/.installed-dev ## Write Grafana's dashboards anew (needs Python 3.11)
	PYTHONPATH=$(CURDIR) $(bin)/python collector-config/grafana/dashboards

up: ## Start it all in containers, from a shop and its visitors to Grafana, and say what to open
	@$(COMPOSE) up --detach --wait --wait-timeout 100 $(ARGS)
	@echo "Grafana     http://127.0.0.1:$${GRAFANA_PORT:-3000}    dashboards, and from a latency to its trace"
	@echo "Jaeger      http://127.0.0.1:$${JAEGER_PORT:-16686}   traces"
	@echo "Prometheus  http://127.0.0.1:$${PROMETHEUS_PORT:-9090}    metrics, rules and alerts"
	@echo "Bookshop    http://127.0.0.1:$${BOOKSHOP_PORT:-8000}/status"

down: ## Stop what `make up` started, and remove all of it but the images
	@$(COMPOSE) down --volumes --remove-orphans

golden: .venv/.installed-dev ## Write golden snapshots and generated pages anew; read the diff before committing
	-$(bin)/python -m pytest tests/golden --inline-snapshot=create,fix $(ARGS)
	PYTHONPATH=$(CURDIR) $(bin)/python docs/generate.py

sampler-coverage: .venv/.installed-dev ## Whether 95 % of the sampler's intervals hold: 200 runs on each of three servers
	OTEL_REDIS_CACHE_SAMPLER_RUNS=200 $(bin)/python -m pytest --log-cli-level=INFO \
	  tests/integration/test_sampler_coverage.py $(ARGS)

namespaces-coverage: .venv/.installed-dev ## Whether 95 % of the intervals of `namespaces` hold: 50 runs on a million keys of three servers
	OTEL_REDIS_CACHE_NAMESPACES_RUNS=50 $(bin)/python -m pytest --log-cli-level=INFO \
	  tests/cli/test_namespaces_coverage.py $(ARGS)

hostile: .venv/.installed-dev ## Try a million hostile inputs of each kind, led by what they reach (ARGS="--runs 10000 --only setting")
	$(bin)/python -m tests.hostile.fuzz $(ARGS)

soak: .venv/.installed-dev ## Load and faults for half an hour; writes docs/reliability.* (ARGS="--minutes 2 --seed 7")
	@collector-config/build-collector >/dev/null
	$(bin)/python -m tests.soak $(ARGS)

constraints: .venv/.installed-dev ## Pin the newest versions of everything in constraints.txt (needs uv)
	uv pip compile --universal --python-version 3.10 --no-annotate --no-header --no-emit-index-url \
	  --all-extras --group dev --upgrade --output-file constraints.txt pyproject.toml

clean: ## Remove .venv, builds and caches
	rm -rf .venv build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian's python3 has no ensurepip without python3-venv; its pip can fill a venv from outside.
.venv/.pip:
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 10) and sys.exit("$(PYTHON) is Python " \
	  + sys.version.split()[0] + ", and 3.10 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear --without-pip .venv
	@$(PIP) --python $(bin)/python install --upgrade 'pip>=25.1' \
	  || { $(bin)/python -m ensurepip && $(bin)/python -m pip install --upgrade 'pip>=25.1'; } \
	  || { echo "No pip for .venv: apt-get install python3-pip (or python3-venv), then again." >&2; exit 1; }
	@touch $@

.venv/.installed-demo: .venv/.pip pyproject.toml constraints.txt
	$(bin)/python -m pip install -c constraints.txt -e '.[demo]'
	@touch $@

# The tools come on top of the demo, so that it is installed then too.
.venv/.installed-dev: .venv/.pip pyproject.toml constraints.txt
	$(bin)/python -m pip install -c constraints.txt -e '.[demo]' --group dev
	@touch .venv/.installed-demo $@
