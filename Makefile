# Every target sets up what it needs in .venv: Python 3.11 or later, its venv module and make suffice.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help demo test test-slow test-cpus test-arm test-pythons fence accuracy lint bench bench-full \
        bench-train bench-epochs bench-inference bench-layers bench-avx2 bench-runs bench-many bench-estimators \
        bench-record bench-compare \
        crossover docs products roofline step-profile study curves kill-and-resume clean
help:            ## list the targets
	@grep -hE '^[a-z0-9-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  \1\t/'

# One stamp per set of extras: `make demo` installs no test tools.
$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ $(VENV)/.demo

$(VENV)/.docs: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

$(VENV)/.study: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[study]'
	touch $@

demo: $(VENV)/.demo  ## train on handwritten digits, naive and fast, and draw the learning curve
	$(BIN)/fastnn train digits --compare-naive --plot curve.png

test: $(VENV)/.dev   ## run the tests
	$(BIN)/python -m pytest -n auto

test-slow: $(VENV)/.dev  ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow

# `make test-cpus CPUS="haswell generic"` runs these; processors with features this one lacks are left out.
test-cpus: $(VENV)/.dev  ## run kernels, engine, accuracy as compiled for other x86-64 processors (minutes)
	$(BIN)/python tests/cpus.py $(CPUS)

test-arm: $(VENV)/.dev  ## run kernels, engine, some accuracy for 64-bit ARM, emulated by QEMU (hours)
	$(BIN)/python tests/arm.py

# `make test-pythons PYTHONS=3.13` runs this one.
test-pythons:    ## run the tests with every Python there is: on PATH, of pyenv, of uv
	$(PYTHON) tests/pythons.py $(PYTHONS)

fence: $(VENV)/.dev  ## call compiled code beside protected pages, thousands of times (minutes)
	$(BIN)/python tests/fenced.py 5000

kill-and-resume: $(VENV)/.dev  ## kill 200 training runs, resume them, compare every bit (minutes)
	$(BIN)/python tests/kill_and_resume.py 200

accuracy: $(VENV)/.dev  ## measure every function's largest error and write docs/accuracy.md (minutes)
	PYTHONPATH=tests $(BIN)/python -m accuracy.report $(ONLY)

# OPTIONS='-D nb_execution_mode=off' leaves the study's chapters without their outputs, in seconds.
docs: $(VENV)/.docs  ## build the documentation, docs/_build/html/index.html (minutes, later seconds)
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python -m sphinx -W --keep-going $(OPTIONS) docs docs/_build/html

lint: $(VENV)/.dev   ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Who is not installed is reported as absent; for the peers: .venv/bin/pip install -e '.[peers]'
bench: $(VENV)/.dev  ## time kernels and training steps: naive, NumPy, SciPy, fastnn; minutes
	$(BIN)/python benchmarks/rounds.py

bench-full: $(VENV)/.dev  ## the same with slow cases and peers, at one thread and at all; an hour or so
	$(BIN)/python benchmarks/rounds.py --full

bench-train: $(VENV)/.dev  ## training steps against every peer, at one thread and at all
	$(BIN)/python benchmarks/rounds.py --full -- -k test_training_step

bench-epochs: $(VENV)/.dev  ## epochs of fit against JAX's scan, likewise
	$(BIN)/python benchmarks/rounds.py --full -- -k test_epoch

bench-inference: $(VENV)/.dev  ## forward passes, likewise
	$(BIN)/python benchmarks/rounds.py --full -- -k test_inference

bench-layers: $(VENV)/.dev  ## layers, convolutional and recurrent networks, likewise
	$(BIN)/python benchmarks/rounds.py --full --markdown docs/benchmarks-layers.md \
	    --title "Layers, convolution, recurrence" -- -k test_layers

bench-avx2: $(VENV)/.dev  ## all three, held to AVX2
	$(BIN)/python benchmarks/rounds.py --full --isa avx2 -- -k test_networks

bench-runs: $(VENV)/.dev  ## MNIST from process start to finish, and start-up, likewise
	$(BIN)/python benchmarks/runs.py

bench-many: $(VENV)/.dev  ## many small networks at once: fit_many, loops, vmap, processes
	$(BIN)/python benchmarks/many.py

bench-estimators: $(VENV)/.dev  ## fit of MLPClassifier against scikit-learn's own
	$(BIN)/python benchmarks/estimators.py

bench-record: $(VENV)/.dev  ## write a record to benchmarks/results
	$(BIN)/python benchmarks/track.py record

bench-compare: $(VENV)/.dev  ## compare with the last record; fails if something lost more than 10%
	$(BIN)/python benchmarks/track.py compare

crossover: $(VENV)/.dev  ## measure from what size on several threads pay
	$(BIN)/python benchmarks/crossover.py

products: $(VENV)/.dev  ## networks of every size by the micro-kernel and by BLAS, write docs/products.md
	$(BIN)/python benchmarks/products.py

# MNIST is read from $FASTNN_DATA/mnist/.
curves: $(VENV)/.demo  ## train docs/programs, draw their learning curves for the pages (minutes)
	$(BIN)/python docs/programs/draw.py

roofline: $(VENV)/.demo  ## draw docs/roofline.png
	$(BIN)/fastnn bench --quick --plot docs/roofline.png

step-profile: $(VENV)/.dev  ## measure where a training step's time goes, write docs/training-step.md
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benchmarks/steps.py

study: $(VENV)/.study  ## run the study's chapters on this machine: docs/study/_build/html/index.html (minutes)
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python -m sphinx -E docs/study docs/study/_build/html

clean:           ## delete the environment, caches and builds
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
