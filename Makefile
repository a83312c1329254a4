PYTHON ?= python3
RUN = .venv/bin

.PHONY: help demo install test suite lint slow bench gpu wheels docs clean

help:     ## list these verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 12

install: .venv/installed  ## make .venv with the tested pins

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("pyro_vae needs Python 3.11 or newer; say which with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

demo: install  ## train a VAE on handwritten digits and look at it
	$(RUN)/pyro-vae demo

test: install  ## lint, types, doctests and the whole test suite but its slow proofs
	$(MAKE) -j2 lint suite

suite: install
	$(RUN)/pytest -n auto

lint: install  ## ruff and mypy
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/mypy pyro_vae

slow: install  ## the slow proofs: coverage over repeats, kills, MNIST (PYRO_VAE_DATA)
	$(RUN)/pytest -n auto -m slow

bench: install  ## every benchmark, side by side with peers
	for file in $(filter-out benchmarks/gpu%,$(wildcard benchmarks/*.py)); do $(RUN)/python $$file || exit 1; done

gpu:      ## eight minutes of figures on one GPU, by the torch of PYTHON (OUT=build/gpu, ARGS=--dry)
	$(PYTHON) benchmarks/gpu.py $(if $(OUT),--out $(OUT)) $(ARGS)

wheels: install  ## fetch the small packages for a `make gpu` without a network
	$(RUN)/python -m pip download --quiet --no-deps -c constraints.txt -d build/wheels $$($(RUN)/python benchmarks/gpu.py --needed)

docs: install  ## run the code of every page and docstring
	$(RUN)/pytest -n auto -m "not gpu" tests/test_docs.py tests/test_doctests.py

clean:    ## remove what the other verbs made, but never runs/
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache
