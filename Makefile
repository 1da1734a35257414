# `make` runs the pipeline, `make test` the tests; the other targets are named below.
SHELL := /bin/bash
PYTHON ?= python3
INSTALLED := .venv/installed
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: all install test test-remotes faults gradcheck bench experiments plots verify readme lock clean

all: install
	dvc repro
	@python -m tools.summary

install: $(INSTALLED)

# setuptools comes first, so that the locked version builds the source package.
$(INSTALLED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"Python 3.11 or newer is needed, {sys.version.split()[0]} is $(PYTHON)")'
	@$(PYTHON) -c "import ensurepip" 2>/dev/null || { echo "$(PYTHON) has no ensurepip: install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement <(sed -n '/^setuptools==/,/[^\\]$$/p' requirements.lock)
	python -m pip install --quiet --disable-pip-version-check --require-hashes --no-build-isolation --use-pep517 --requirement requirements.lock
	python -m tools.plots_template
	@touch $@

test: install
	ruff check .
	ruff format --check .
	mypy
	pytest --numprocesses 2

# Compares every gradient with autograd and central differences, tensor by tensor.
gradcheck: install
	python -m tools.gradcheck

# Measures a training step beside its peers: a few minutes, on an idle machine. DEVICE=cuda measures on a GPU.
DEVICE ?= cpu
bench: .venv/bench
	python -m benchmarks.run --device $(DEVICE)

.venv/bench: $(INSTALLED) benchmarks/requirements.lock
	python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement benchmarks/requirements.lock
	@touch $@

# The long tests that `make test` leaves out: a run killed at 20 random moments and completed each time, and more of the
# same kind.
faults: install
	pytest tests/faults -m "long or not long" --numprocesses 2 --maxschedchunk 1

# The large tests that `make test` leaves out: sharing over a folder, S3 and SSH, against servers started here;
# experiments and their queue; torchrun on two hosts and through DVC; other data through DVC; the table of a GPU.
test-remotes: .venv/bench .venv/remotes
	pytest --numprocesses 2 --ignore tests/faults -m long

.venv/remotes: $(INSTALLED) tests/remotes.lock
	python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement tests/remotes.lock
	@touch $@

# `dvc exp show` has a column for every metric, parameter and file. This shows parameters whose values differ, and the
# arms' mean validation accuracy where it differs.
experiments: install
	dvc exp show --only-changed --drop '.*/[^:]*$$|.*:(dataset|gain|low|high|mean|test)$$|params\.yaml$$|models$$|results$$|Created$$'

# Checks DVC's cache and the outputs against their checksums.
verify: install
	@python -m tools.verify

plots: install
	python -m tools.plots_template
	dvc plots show

# Writes the results of the last run into the README.
readme: install
	python -m tools.readme

# Needs uv. --universal: one lock for every system and Python; no index address in it.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --quiet requirements.in --output-file requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --quiet --constraints requirements.lock benchmarks/requirements.in --output-file benchmarks/requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --quiet --constraints requirements.lock tests/remotes.in --output-file tests/remotes.lock

# Removes outputs of the pipeline and caches; keeps the environment, DVC's cache, metrics/ and plots/, which git holds.
clean:
	rm -rf data models results report.docx dvc_plots .mypy_cache .pytest_cache .ruff_cache
