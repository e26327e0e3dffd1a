# The project's everyday words; `make` alone lists them.
# Everything is installed into .venv, on first use. Nothing outside this folder is touched.

# TensorFlow 2.21 runs on Python 3.10 to 3.13. Take the first of these that fits, or the one you name:
# make notebook PYTHON=/path/to/python
FITS := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)

RUN := .venv/bin/python -m
PIP_INSTALL := $(RUN) pip install --disable-pip-version-check

.PHONY: help cats notebook lab page quick test test-workers coverage lint format bench box clean pins

help:
	@echo "make cats       draw 36 cats with the included model, into cats.png; installs only what that needs"
	@echo "make notebook   run the notebook from top to bottom; the result goes to runs/notebook/"
	@echo "make lab        open a copy of the notebook to work in, runs/my_cat_dcgan.ipynb, in JupyterLab"
	@echo "make page       play with the cats in your browser: makes runs/cats.html and opens it"
	@echo "make quick      run the tests that train nothing, in under a minute"
	@echo "make test       run every test, the notebook among them; some: make test ARGS=\"-k resume\""
	@echo "make test-workers  kill, freeze and delay workers that train together; some three minutes"
	@echo "make coverage   run the tests and list the lines that none reaches"
	@echo "make lint       check style and types"
	@echo "make format     let ruff format the code and fix what it can"
	@echo "make bench      measure how fast training, sampling and starting are"
	@echo "make box        for maintainers: a new model, or what comes from it: CHECKPOINT=... FROM=... FACES=..."
	@echo "make clean      remove .venv and the caches; what you trained stays"
	@echo "make pins       for maintainers: renew the versions in constraints.txt"

cats: .venv/.drawing
	@.venv/bin/catdcgan sample --count 36 --out cats.png

notebook: .venv/.installed
	@.venv/bin/python notebooks/run.py $(ARGS)

# A copy, because JupyterLab saves by itself; at the same depth, so that the links work there too.
lab: .venv/.installed
	@mkdir -p runs
	@test -e runs/my_cat_dcgan.ipynb || cp notebooks/cat_dcgan.ipynb runs/my_cat_dcgan.ipynb
	@echo "Your copy is runs/my_cat_dcgan.ipynb. To start afresh, delete it and run 'make lab' again."
	@.venv/bin/jupyter lab --ServerApp.root_dir=. runs/my_cat_dcgan.ipynb $(ARGS)

page: .venv/.drawing
	@.venv/bin/catdcgan export --to page --out runs/cats.html
	@$(RUN) webbrowser "file://$(CURDIR)/runs/cats.html"

# One pytest run, so one summary. Two processes share its files, so TensorFlow starts twice and not forty times;
# the longest, the notebook, comes first. A cell of it may take up to ten minutes on a slow machine.
PYTEST := $(RUN) pytest -n 2 --dist loadfile --no-loadscope-reorder
test: .venv/.installed
	$(PYTEST) -m "not workers" --nbval --nbval-current-env --nbval-cell-timeout=600 \
		notebooks/cat_dcgan.ipynb tests $(ARGS)

# One after the other: each starts processes of its own.
test-workers: .venv/.installed
	$(RUN) pytest -m workers tests/parallel $(ARGS)

quick: .venv/.installed
	$(PYTEST) -m "not slow and not workers" tests $(ARGS)

# In one process, as coverage counts there; the notebook would hide what no test reaches.
coverage: .venv/.installed
	$(RUN) coverage run -m pytest -q -m "not workers" tests $(ARGS)
	$(RUN) coverage combine -q
	$(RUN) coverage report --show-missing --skip-covered

lint: .venv/.installed
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy

format: .venv/.installed
	$(RUN) ruff format
	$(RUN) ruff check --fix

# PyTorch, to compare with, comes first: on Linux PyPI's build brings gigabytes for a GPU, PyTorch's own index
# one for CPUs alone. (Where that index cannot be reached, pip warns, and takes the build it can get.)
TORCH_FROM := $(if $(filter Linux,$(shell uname)),--retries 0 --extra-index-url https://download.pytorch.org/whl/cpu)
bench: .venv/.installed
	$(PIP_INSTALL) -c constraints.txt --no-deps $(TORCH_FROM) torch
	$(PIP_INSTALL) -c constraints.txt -e '.[benchmark]'
	.venv/bin/python benchmarks/train_step.py --widths 16 --rounds 3
	.venv/bin/python benchmarks/sampling.py --widths 16
	.venv/bin/python benchmarks/growth.py
	.venv/bin/python benchmarks/startup.py

# A new model in the box, with its pictures, knobs and card: CHECKPOINT=FILE. FROM=FOLDER, the run that trained it,
# brings the training strip; FACES=FOLDER, photos, the card's figures.
box: .venv/.installed
	$(if $(FACES),$(PIP_INSTALL) -c constraints.txt opencv-python-headless)
	.venv/bin/python benchmarks/box.py $(if $(CHECKPOINT),--checkpoint '$(CHECKPOINT)') $(if $(FROM),--run '$(FROM)') $(if $(FACES),--faces '$(FACES)')

# These two files say that an installation came to its end, and since when: of what drawing and training need,
# and of that and the extras for the notebook and the tests. It is done again when one of the two files that
# decide it is newer.
.venv/.drawing: EXTRAS :=
.venv/.drawing: SIZE := 0.6 GB to download and 2.2 GB on disk
.venv/.installed: EXTRAS := [notebook,test,lint]
.venv/.installed: SIZE := 0.7 GB to download and 2.8 GB on disk
.venv/.drawing .venv/.installed: pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c '$(FITS)' || { \
		echo "This needs Python 3.10, 3.11, 3.12 or 3.13, and '$(or $(PYTHON),python3)' is none of them." >&2; \
		echo "If you have one, name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(RUN) pip --version >/dev/null 2>&1 || { \
		echo "Creating .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear .venv; } || { \
		rm -rf .venv; \
		echo "Python could not create .venv. On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@echo "Installing into .venv. The first time, this is about $(SIZE)."
	$(PIP_INSTALL) -c constraints.txt -e '.$(EXTRAS)'
	@touch .venv/.drawing $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .coverage* build dist catdcgan.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv resolves for all four Pythons and all systems at once; pip cannot. It gets a throw-away environment.
pins:
	$(PYTHON) -m venv --clear build/pins
	build/pins/bin/python -m pip install --disable-pip-version-check uv
	build/pins/bin/uv pip compile pyproject.toml --universal --python-version 3.10 --all-extras --upgrade \
		--no-annotate --custom-compile-command "make pins" --output-file constraints.txt
