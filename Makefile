# Every target sets up what it needs; the only prerequisites are Python 3.11 or newer, make and a C++ compiler.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-long test-trackers test-browser test-sb3 lint type layers format bench docs clean

demo: .venv/ready  ## train Pendulum-v1 and show the result
	rm -rf demo
	$(BIN)/rucksac train Pendulum-v1 --steps 10000 --run demo/pendulum
	$(BIN)/rucksac plot demo/pendulum -o demo/curve.png
	$(BIN)/rucksac watch demo/pendulum --video demo/pendulum.mp4
	@echo "The curve is demo/curve.png, the agent in its environment demo/pendulum.mp4"

test: .venv/ready  ## everything that must hold
	$(BIN)/python -m pytest

test-long: .venv/ready  ## what takes longer: kills, damaged files, the wheel, other people's collections
	$(BIN)/python -m pytest -m long

test-trackers: .venv/ready .venv-trackers/ready  ## heavy experiment trackers, in an environment of their own
	$(BIN)/python -m pytest -m trackers

test-browser: .venv/ready .browser/ready  ## reports and the dashboard in a real Chromium; needs node, npm and chromium
	$(BIN)/python -m pytest -m browser

test-sb3: .venv/ready .venv-sb3/ready  ## beside Stable-Baselines3, in an environment of their own
	$(BIN)/python -m pytest -m sb3

lint: .venv/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: .venv/ready
	$(BIN)/mypy

layers: .venv/ready
	$(BIN)/lint-imports

format: .venv/ready
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: .venv/ready  ## the figures in benchmarks/results
	$(BIN)/python benchmarks/parts.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/products.py
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/environments.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/pendulum.py
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/learning.py
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/diagnose.py
	$(BIN)/python benchmarks/tune.py

docs: .venv/ready  ## the documentation as a site: build/docs/index.html; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q -c docs . build/docs

clean:
	rm -rf .venv .venv-trackers .browser .venv-sb3 build dist demo src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

.venv-trackers/ready: pyproject.toml constraints-trackers.txt  ## heavy experiment trackers, which want another pillow
	$(PYTHON) -m venv .venv-trackers
	.venv-trackers/bin/pip install --quiet --disable-pip-version-check -c constraints-trackers.txt \
	    -e ".[classic,tensorboard,wandb,mlflow,trackio]"
	touch $@

.browser/ready: tests/reporting/package.json tests/reporting/package-lock.json  ## what drives Chromium, and axe
	mkdir -p .browser && cp tests/reporting/package.json tests/reporting/package-lock.json .browser/
	npm ci --prefix .browser --silent --no-audit --no-fund
	touch $@

.venv-sb3/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-sb3
	.venv-sb3/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[classic]" stable-baselines3
	touch $@
