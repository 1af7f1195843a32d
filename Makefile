# Two commands do everything on a fresh machine with Python >= 3.10: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LAB := $(VENV)/.lab

.PHONY: demo test test-slow test-arm64 test-systemd test-federated lint docs clean install

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@ $(LAB)

# What the demo and its page need, without linters, NVIDIA's builder and other encoders.
$(LAB): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[lab,page]"
	touch $@

demo: $(LAB)
	$(BIN)/edgedx demo

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --durations=25

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

# The device half as arm64, by emulation: as root, with debootstrap and qemu-user-static; minutes, and 0.7 GB kept.
test-arm64: $(STAMP)
	EDGEDX_ARM64="$(or $(EDGEDX_ARM64),$(CURDIR)/build/arm64)" $(BIN)/python -m pytest tests/arm64

# The service under a real systemd: as root, with debootstrap and systemd-container; 0.3 GB kept.
test-systemd: $(STAMP)
	EDGEDX_SYSTEMD="$(or $(EDGEDX_SYSTEMD),$(CURDIR)/build/systemd)" $(BIN)/python -m pytest tests/systemd

# Flower pins older typer, rich, packaging and protobuf than the rest is tested with: an environment of its own.
test-federated:
	$(PYTHON) -m venv build/federated
	build/federated/bin/python -m pip install --quiet --editable ".[lab,federated,curves]" "pytest>=8" "psutil>=5.9"
	build/federated/bin/python -m pytest tests/lab/federated tests/cli/tools/test_federated.py tests/lab/train/test_curves.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The generated pages, then the site: build/site/index.html opens from the folder. A warning ends it.
docs: $(STAMP)
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) build dist *.egg-info runs bench
