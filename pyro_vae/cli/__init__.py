"""The command line: ``pyro-vae VERB``, one module of this package for each verb.

A new verb is a module ``pyro_vae/cli/NAME.py`` with ``main(argv) -> int``, and a line in ``VERBS``; what
verbs share lies in the folders ``options``, ``run`` and ``output``.
Results go to standard output, notes and errors to standard error. Exit codes: 0 success; 1 a bug in
pyro_vae; 2 a wrong input; 130 stopped by Ctrl-C; 143 stopped by SIGTERM.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from pyro_vae import memory
from pyro_vae.cli.output.console import print_error
from pyro_vae.cli.output.errors import describe, sigterm_as_exception
from pyro_vae.errors import InputError, unknown

VERBS = {
    "demo": "train a VAE on handwritten digits and report on it, in a minute",
    "families": "train VAE, VAE-GAN, GAN, flow and autoencoder on digits, and compare them",
    "data": "list the data sets that can be loaded, or show how a file is read",
    "models": "list the models and the parts that they are composed of",
    "fit": "fit a model to data, or continue a run",
    "evidence": "estimate log p(x) of held-out data under a fitted model",
    "compare": "compare runs on the same data: Bayes factors, probabilities, a picture",
    "report": "write a run, or several side by side, as one HTML page",
    "posterior": "draw the latents given the data, for a table, a file and ArviZ",
    "latents": "write where each row lies in the latent space",
    "interpolate": "go from one row to another through the latent space",
    "traverse": "move one latent of a row at a time",
    "disentanglement": "measure whether each latent holds one factor of the data",
    "score": "find the rows that a fitted model finds strange",
    "parameters": "standard errors of what a run has learnt by maximum likelihood",
    "graph": "draw a model and its guide as a plate diagram",
    "sample": "draw new data from a fitted model",
    "reconstruct": "compare data with their reconstructions by a fitted model",
    "impute": "fill in missing values by a fitted model",
}
USAGE = f"""usage: pyro-vae VERB [OPTION ...]

Fit latent variable models, written in Pyro, by variational inference; estimate
their evidence.

{chr(10).join(f"  {verb:<15} {text}" for verb, text in VERBS.items())}

  pyro-vae VERB --help   the options of a verb
  pyro-vae --version     the version of pyro_vae
  --debug                with any verb: show the traceback of an error

Start with: pyro-vae demo"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        check_words(words)
        with sigterm_as_exception(), memory.limited_to_machine():
            code = _run([word for word in words if word != "--debug"])
        sys.stdout.flush()
        return code
    except SystemExit as end:  # after --help
        return end.code if isinstance(end.code, int) else 0
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        code, message = describe(error)
        print_error(message)
        return code


def check_words(words: Sequence[str]) -> None:
    """Check that every word can be written to a file and a terminal."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            remedy = "rename the file, or set the terminal to UTF-8"
            raise InputError(
                f"the word {word} is not UTF-8", subject=word, remedy=remedy
            ) from error
        if "\0" in word:
            problem = f"the word {word!r} holds a null byte"
            raise InputError(problem, subject=repr(word), remedy="leave it out")


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    verb, *rest = words
    if verb == "--version":
        from pyro_vae import __version__

        print(f"pyro-vae {__version__}")
        return 0
    if verb not in VERBS:
        raise unknown(f"there is no verb {verb!r}", verb, VERBS)
    return importlib.import_module(f"pyro_vae.cli.{verb}").main(rest)
