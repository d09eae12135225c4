PYTHON ?= python3
NEWEST ?= $(shell for each in python3.13 $(HOME)/.pyenv/versions/3.13*/bin/python $(PYTHON); do \
	$$each -c '' 2>/dev/null && echo $$each && break; done)
VENV := .venv
BIN := $(VENV)/bin
TRAINERS := .venv-trainers
DATA := bayes_tsl/data/datasets/small_lm/position_losses.csv.gz
SCHEDULE := cosine:peak=2e-3,warmup=100,total=2500,final=2e-4

.PHONY: forecast test test-oldest test-newest test-sdist test-slow test-trainers lint format pages docs benchmark-quick benchmark-peers calibration clean

forecast: $(VENV)/package
	$(BIN)/bayes-tsl forecast $(DATA) --run mix50_cosine --test-set prose \
		--schedule $(SCHEDULE) --parameters 1.1e6 --until 1250 --to 2500 --out out

test: $(VENV)/dev
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

test-oldest: build/oldest/dev
	build/oldest/bin/pytest -n 2 --dist loadfile -m "not slow" -W ignore::DeprecationWarning -W ignore::FutureWarning

test-newest: build/newest/dev
	build/newest/bin/pytest -n 2 --dist loadfile -m "not slow"

test-sdist: $(VENV)/dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build
	rm -rf build/sdist
	$(BIN)/python -m build --sdist --outdir build/sdist .
	tar xzf build/sdist/*.tar.gz -C build/sdist --strip-components 1
	cd build/sdist && ../../$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(VENV)/dev
	$(BIN)/pytest -m slow

test-trainers: $(TRAINERS)/dev
	$(TRAINERS)/bin/pytest tests/trainers bayes_tsl/live/trainers

lint: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Runs the code of every page, and writes what it prints and draws.
pages: $(VENV)/dev
	$(BIN)/python -m benchmarks.pages

docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/mkdocs build --strict

benchmark-quick: $(VENV)/dev
	for name in public.blind public.prefix public.transfer bundled.positions public.decision cost.speed; do \
		$(BIN)/python -m benchmarks.$$name --quick || exit 1; done

benchmark-peers: $(VENV)/peers
	$(BIN)/python -m benchmarks.public.peers

calibration: $(VENV)/dev
	$(BIN)/python -m benchmarks.simulated.calibration

$(VENV)/package: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/dev: $(VENV)/package
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

# The lower bounds of pyproject.toml as they are, whose packages may be warned by newer ones below them; the newest of all.
build/oldest/dev: pyproject.toml
	$(PYTHON) -m venv build/oldest
	build/oldest/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/oldest/bin/uv pip install --quiet --python build/oldest/bin/python --resolution lowest-direct -e '.[dev]'
	touch $@

build/newest/dev: pyproject.toml
	$(NEWEST) -m venv build/newest
	build/newest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -e '.[dev]'
	touch $@

$(VENV)/peers: $(VENV)/dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,peers]'
	touch $@

$(VENV)/docs: $(VENV)/dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,docs]'
	touch $@

$(TRAINERS)/dev: pyproject.toml
	$(PYTHON) -m venv $(TRAINERS)
	$(TRAINERS)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev,huggingface,lightning]'
	touch $@

clean:
	rm -rf $(VENV) $(TRAINERS) out build site *.egg-info
