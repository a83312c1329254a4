"""The command line: ``pyro-vae VERB``, a module of this package for each verb.

The next verb is a module ``pyro_vae/cli/NAME.py`` with ``main(argv) -> int``, and a line in ``VERBS``.
Results go to standard output, all else to standard error. Exit codes: 0 done; 1 a bug of ours; 2 a
wrong input; 130 and 143 stopped by Ctrl-C and SIGTERM.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from pyro_vae import memory
from pyro_vae.cli.output.console import fail
from pyro_vae.cli.output.errors import describe, terminated_by_exception
from pyro_vae.errors import InputError, nearest

VERBS = {
    "demo": "train a VAE on handwritten digits and look at it (no download, under a minute)",
    "data": "list the data sets that can be loaded, and which are there",
    "models": "list the models that come with pyro_vae",
    "fit": "fit a model to data; go on with a run",
    "evidence": "estimate log p(x) of held-out data under a run's model",
    "graph": "draw a model and its guide as a plate diagram",
    "sample": "draw new data from a run's model",
    "reconstruct": "show data beside what a run's model makes of them",
    "impute": "fill in what is missing from a run's data",
}
USAGE = f"""usage: pyro-vae VERB [OPTION ...]

Fit Pyro models by variational inference, and know their evidence.

{chr(10).join(f"  {verb:<12} {what}" for verb, what in VERBS.items())}

  pyro-vae VERB --help   what a verb takes
  pyro-vae --version
  --debug                with any verb: show the traceback of an error

Start with: pyro-vae demo"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        check_words(words)
        with terminated_by_exception(), memory.of_this_machine():
            code = _run([word for word in words if word != "--debug"])
        sys.stdout.flush()
        return code
    except SystemExit as end:  # after --help
        return end.code if isinstance(end.code, int) else 0
    except BrokenPipeError:  # whoever read the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        code, message = describe(error)
        fail(message)
        return code


def check_words(words: Sequence[str]) -> None:
    """:raises InputError: a word holds bytes that no text file or terminal could show again."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"the word {word} is not UTF-8: rename the file, or set the terminal to UTF-8"
            ) from error
        if "\0" in word:
            raise InputError(f"the word {word!r} holds a null byte")


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
        raise InputError(f"there is no verb {verb!r}{nearest(verb, VERBS)}")
    return importlib.import_module(f"pyro_vae.cli.{verb}").main(rest)
