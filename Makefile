# Needs make and Python 3.11 or newer with venv. Another interpreter: make run PYTHON=python3.12
PYTHON ?= python3
UV := .venv/bin/uv
# Compiled when it is installed: the first start takes half the time.
INSTALL := $(UV) pip install --quiet --compile-bytecode --python .venv/bin/python
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --custom-compile-command 'make lock'
EXTRAS = $$(sed -n '/^\[project.optional/,/^\[project.scripts/s/^\([a-z]*\) = .*/\1/p' pyproject.toml | paste -sd ,)
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check fmt lock openapi sdk bench docs sbom

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: .venv/run.stamp ## Serve on https://127.0.0.1:8443; the first run also makes keys, database and settings in .trivet/
	@.venv/bin/trivet init --directory .trivet && exec .venv/bin/trivet serve $(ARGS)

test: .venv/dev.stamp ## Run the whole test suite; some of it: make test ARGS=tests/unit
	.venv/bin/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: .venv/dev.stamp ## Lint, types, layers, and whether generated files have drifted
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo
	.venv/bin/pytest tests/checks

fmt: .venv/dev.stamp ## Format the code and mend what Ruff can mend
	.venv/bin/ruff check --fix-only
	.venv/bin/ruff format

lock: .venv/uv.stamp ## Write requirements/*.txt; to newer versions: make lock ARGS=--upgrade
	$(COMPILE) --group installer -o requirements/uv.txt $(ARGS)
	$(COMPILE) --group sdk -o requirements/sdk.txt $(ARGS)
	$(COMPILE) pyproject.toml --all-extras --group build -o requirements/run.txt $(ARGS)
	$(COMPILE) pyproject.toml --all-extras --group build --group dev --group docs --group supply \
	  -c requirements/run.txt -o requirements/dev.txt $(ARGS)

openapi: .venv/run.stamp ## Write openapi/openapi.json from the code
	.venv/bin/trivet openapi > openapi/openapi.json.new && mv openapi/openapi.json.new openapi/openapi.json

SDK ?= dist/sdk
sdk: sdk-python $(if $(shell command -v npm),sdk-typescript) ## Make the SDKs for Python and (where npm is) TypeScript in dist/sdk
	@command -v npm >/dev/null || echo 'npm is not installed, so there is no SDK for TypeScript'

bench: .venv/dev.stamp ## Measure beside the limit and the peers, an hour; in two minutes: make bench QUICK=1
	.venv/bin/python -m bench $(if $(QUICK),--quick) $(ARGS)

docs: .venv/dev.stamp ## Make the documentation as a site, in dist/site; a link that leads nowhere is an error
	.venv/bin/python -m website $(ARGS)

sbom: .venv/dev.stamp ## Build the wheel, and its bill of materials (CycloneDX), in dist/
	@rm -rf .venv/sbom dist/trivet-*.whl && mkdir -p dist
	.venv/bin/python -m hatchling build --target wheel --directory dist
	$(UV) venv --quiet --python .venv/bin/python .venv/sbom
	$(UV) pip install --quiet --python .venv/sbom --constraint requirements/run.txt "$$(echo dist/trivet-*.whl)[$(EXTRAS)]"
	@sed "s/^dynamic = .*/version = \"$$(.venv/bin/python -m hatchling version)\"/" pyproject.toml > .venv/sbom/pyproject.toml
	.venv/bin/cyclonedx-py environment --pyproject .venv/sbom/pyproject.toml --output-reproducible -o dist/trivet.cdx.json .venv/sbom

# --- the SDKs, each in a folder that can be installed; SDK=folder for another place ---

.PHONY: sdk-python sdk-typescript
sdk-python: .venv/sdk.stamp
	@rm -rf $(SDK)/python && mkdir -p $(SDK)
	@PATH="$(CURDIR)/.venv/sdk/bin:$$PATH" openapi-python-client generate --path openapi/openapi.json \
	  --config openapi/python.yaml --meta uv --output-path $(SDK)/python --overwrite > $(SDK)/python.log 2>&1 \
	  || { cat $(SDK)/python.log >&2; exit 1; }
	@echo 'pip install ./$(SDK)/python'

sdk-typescript:
	@mkdir -p $(SDK)/typescript
	@cp -R openapi/typescript/. openapi/openapi.json $(SDK)/typescript/
	@cd $(SDK)/typescript && npm ci --silent && npm run --silent generate > ../typescript.log && npm run --silent build
	@echo 'npm install ./$(SDK)/typescript'

# --- what the targets stand on: one .venv, filled from hashed lock files, each step once ---

.venv/uv.stamp: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Trivet needs Python 3.11 or newer, and \
	$(PYTHON) is %d.%d. Name another: make run PYTHON=python3.12" % sys.version_info[:2] or 0)'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

.venv/run.stamp: .venv/uv.stamp requirements/run.txt pyproject.toml
	$(INSTALL) --require-hashes -r requirements/run.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements/dev.txt
	$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

.venv/sdk.stamp: .venv/uv.stamp requirements/sdk.txt
	$(UV) venv --quiet --clear --python .venv/bin/python .venv/sdk
	$(UV) pip install --quiet --python .venv/sdk/bin/python --require-hashes -r requirements/sdk.txt
	@touch $@
