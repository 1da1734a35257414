# `make` runs the pipeline, `make test` the tests; the other targets are named below.
SHELL := /bin/bash
PYTHON ?= python3
INSTALL = $(PYTHON) -I -S tools/install.py
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# With these, Python or pip would look elsewhere than in this folder and in .venv.
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH PIP_PYTHON

.PHONY: all install test test-slow test-remotes .venv/bench .venv/remotes faults gradcheck bench experiments plots verify \
    readme tour .venv/tour lock clean

all: install
	dvc repro
	@python -m tools.summary

# All targets except `lock` and `clean` begin with this. It is quick if everything is installed.
install:
	@$(PYTHON) -I -S -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0])'
	@$(INSTALL)
	@python -m tools.configure

test: install
	ruff check .
	ruff format --check .
	mypy
	pytest --numprocesses 2

# The tests of ten seconds or more, which `make test` leaves out; those of the benchmark's peers need `make .venv/bench`.
test-slow: install
	pytest --numprocesses 2 -m "slow and not long"

# Compares every gradient with autograd and central differences, tensor by tensor.
gradcheck: install
	python -m tools.gradcheck

# Compares a training step with other libraries: a few minutes, on an idle machine. DEVICE=cuda measures on a GPU.
DEVICE ?= cpu
bench: .venv/bench
	python -m benchmarks.run --device $(DEVICE)

.venv/bench: install
	@$(INSTALL) benchmarks/requirements.lock

# All tests of faults, with the long ones such as a run that is killed at 20 random moments.
faults: install
	pytest tests/faults -m "long or not long" --numprocesses 2 --maxschedchunk 1

# The other long tests: sharing over a folder, S3 and SSH (against servers started here); experiments and their queue;
# torchrun on two hosts and through DVC; other data through DVC; the table of a GPU.
test-remotes: .venv/bench .venv/remotes
	pytest --numprocesses 2 --ignore tests/faults -m long

.venv/remotes: install
	@$(INSTALL) tests/remotes.lock

# `dvc exp show` has a column for every metric, parameter and file. This shows only the parameters and the arms' mean
# validation accuracies that differ.
experiments: install
	dvc exp show --only-changed --drop '.*/[^:]*$$|metrics/headline/.*|.*:(cost|steps|test|train)$$|params\.yaml$$|models$$|results$$|Created$$'

# Checks DVC's cache and the outputs against their checksums.
verify: install
	@python -m tools.verify

plots: install
	dvc plots show

# Writes the results of the last run into the README.
readme: install
	python -m tools.readme

# Opens the tour in a browser: a notebook that shows the network at work. In a container the user is often root.
tour: .venv/tour
	jupyter notebook $(if $(filter 0,$(shell id -u)),--allow-root) docs/tour.ipynb

.venv/tour: install
	@$(INSTALL) docs/tour.lock

# Needs uv. --universal: one lock for every system and Python; no index address in it.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --quiet requirements.in --output-file requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --quiet --constraints requirements.lock benchmarks/requirements.in --output-file benchmarks/requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --quiet --constraints requirements.lock tests/remotes.in --output-file tests/remotes.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --quiet --constraints requirements.lock docs/tour.in --output-file docs/tour.lock

# Removes outputs of the pipeline and caches; keeps the environment, DVC's cache, metrics/ and plots/, which git holds.
clean:
	rm -rf data models results report.docx dvc_plots .mypy_cache .pytest_cache .ruff_cache
