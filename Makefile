PYTHON ?= python3
NEWEST ?= $(shell for each in python3.13 $(HOME)/.pyenv/versions/3.13*/bin/python $(PYTHON); do \
	$$each -c '' 2>/dev/null && echo $$each && break; done)
VENV := .venv
BIN := $(VENV)/bin
TRAINERS := .venv-trainers
DATA := bayes_tsl/data/datasets/small_lm/position_losses.csv.gz
SCHEDULE := cosine:peak=2e-3,warmup=100,total=2500,final=2e-4

.PHONY: forecast help test test-oldest test-newest test-sdist test-wheel test-slow test-trainers lint format pages docs benchmark-quick benchmark-peers calibration clean

forecast: $(VENV)/package  ## set up, and forecast the second half of a bundled run; writes out/
	$(BIN)/bayes-tsl forecast $(DATA) --run mix50_cosine --test-set prose \
		--schedule $(SCHEDULE) --parameters 1.1e6 --until 1250 --to 2500 --out out

help:  ## list the targets; without a target, make runs forecast
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "make %-16s %s\n", $$1, $$2 }'

test: $(VENV)/dev  ## set up, and run the tests
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

test-oldest: build/oldest/dev  ## the tests on the lower bounds of pyproject.toml
	build/oldest/bin/pytest -n 2 --dist loadfile -m "not slow" -W ignore::DeprecationWarning -W ignore::FutureWarning

test-newest: build/newest/dev  ## the tests on the newest Python and packages that there are
	build/newest/bin/pytest -n 2 --dist loadfile -m "not slow"

test-sdist: $(VENV)/dev  ## the tests from the source distribution
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build
	rm -rf build/sdist
	$(BIN)/python -m build --sdist --outdir build/sdist .
	tar xzf build/sdist/*.tar.gz -C build/sdist --strip-components 1
	cd build/sdist && ../../$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

test-wheel: $(VENV)/dev  ## build wheel and source distribution, and try the wheel in an environment of its own
	rm -rf build/wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build
	$(BIN)/python -m build --outdir build/wheel .
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check build/wheel/*.whl
	cd build/wheel && venv/bin/bayes-tsl --version && venv/bin/python -c 'import bayes_tsl as bt; \
		from bayes_tsl.inference.posterior import example_fit; \
		print(bt.forecast(example_fit(), steps=[2500]).to_frame())'

test-slow: $(VENV)/dev  ## the tests with long chains
	$(BIN)/pytest -m slow

test-trainers: $(TRAINERS)/dev  ## the callbacks for Hugging Face and Lightning (7 GB of packages)
	$(TRAINERS)/bin/pytest tests/trainers bayes_tsl/live/trainers

lint: $(VENV)/dev  ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: $(VENV)/dev  ## format, and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

pages: $(VENV)/dev  ## run the code of every page, and write what it prints and draws
	$(BIN)/python -m benchmarks.pages

docs: $(VENV)/docs  ## build the site into site/
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/mkdocs build --strict

benchmark-quick: $(VENV)/dev  ## a part of the benchmarks; data in BAYES_TSL_DATA, by default ../shared/data
	for name in public.blind public.prefix public.transfer bundled.positions public.decision cost.speed; do \
		$(BIN)/python -m benchmarks.$$name --quick || exit 1; done

benchmark-peers: $(VENV)/peers  ## other forecasters on the public runs (installs prophet and others)
	$(BIN)/python -m benchmarks.public.peers

calibration: $(VENV)/dev  ## simulation-based calibration
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

clean:  ## remove environments and outputs
	rm -rf $(VENV) $(TRAINERS) out build site *.egg-info
