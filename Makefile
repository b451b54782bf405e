# make quickstart [ARGS="seed=7 out=DIR"]   the whole pipeline on a laptop, ends with report.html
# make test                                 lint, types and tests
# Needs Python 3.11 or newer and make; everything else goes into .venv.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
FOR_TESTS := $(VENV)/.installed-for-tests
FRANKA_SIM := .venv-franka-sim

.PHONY: quickstart test lint browser libusb franka-sim format clean

quickstart: $(INSTALLED)
	$(BIN)/robofb quickstart $(ARGS)

test: lint browser libusb franka-sim
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(FOR_TESTS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks/*.py

# Installs a Debian package where that may be done.
APT_INSTALL = test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq \
	  && apt-get install -qq -y --no-install-recommends $(1) >/dev/null

# The tests of the web pages need Chromium; where it cannot be had they are skipped.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { $(call APT_INSTALL,chromium); } \
	  || echo "no Chromium: the tests of the web pages will be skipped"

# Those of RealSense cameras need libusb; where it cannot be had they are skipped.
libusb:
	@$(PYTHON) -c 'import ctypes; ctypes.CDLL("libusb-1.0.so.0")' 2>/dev/null || { $(call APT_INSTALL,libusb-1.0-0); } \
	  || echo "no libusb: the tests of RealSense cameras will be skipped"

# A simulated Franka with a real one's reflexes, for tests. It needs packages older than ours, so it lives apart.
franka-sim: $(FRANKA_SIM)/.installed

$(FRANKA_SIM)/.installed: tests/franka_sim_requirements.txt
	@{ $(PYTHON) -m venv $(FRANKA_SIM) && $(FRANKA_SIM)/bin/python -m pip install --quiet --only-binary=:all: -r $< && touch $@; } \
	  || echo "no franka-sim: the tests of a Franka's reflexes will be skipped"

format: $(FOR_TESTS)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"robofb needs Python 3.11 or newer; $(PYTHON) is {v[0]}.{v[1]}. Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install -c constraints.txt -e .
	@touch $@

$(FOR_TESTS): $(INSTALLED)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) $(FRANKA_SIM) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
