"""Runs fitted anew from other seeds, in folders of their own, for the spread over fits."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pyro_vae.cli.fit import resume_run, train
from pyro_vae.cli.output.console import note
from pyro_vae.cli.run.folder import open_run
from pyro_vae.errors import InputError
from pyro_vae.inference.svi.run_storage import CHECKPOINT

SEEDS = "seeds"  # the folder in a run's folder


def refits(folder: str, number: int, words: Sequence[str]) -> list[str]:
    """Return the folders of a run and of its refits, as many as ``number`` together.

    A refit has the run's configuration with the next seed of the fit, and the same rows. It lies in
    ``RUN/seeds/SEED`` and is fitted once; one that was interrupted goes on.

    Args:
        folder: of the run.
        number: of fits, at least 2.
        words: options that name the run's own code.

    Raises:
        InputError: there is no run, or a refit fails.
    """
    run = open_run(folder, words)
    length = {name: run.config.options[name] for name in ("epochs", "steps")}
    as_long = [w for name, n in length.items() if n is not None for w in (f"--{name}", str(n))]
    found = [folder]
    for step in range(1, number):
        seed = (run.config.options.seed + step) % 2**32
        own = Path(folder, SEEDS, str(seed))
        is_there = (own / CHECKPOINT).exists()
        note(f"{own}: fit {step + 1} of {number} of {folder}{', as it is there' * is_there}")
        try:
            if is_there:
                resume_run(own, [*words, *as_long])
            else:
                options = run.config.options.clone()
                options.seed = seed
                train(own, replace(run.config, options=options), run.load_data())
        except InputError as error:
            raise error.at(f"seed {seed} of {folder}") from error
        found.append(str(own))
    return found
