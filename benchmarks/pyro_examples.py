"""Pyro's own examples and tutorials through `fit`, `log_evidence` and `render_model`.

Each figure is held against Pyro's: the loss of the first step at the same parameters with the same
noise, the evidence against weights of Pyro's traces, the diagram's edges against Pyro's relations. The
programs are Pyro's and not part of this repository: say where they lie. Data are drawn here, in the
shapes that each wants, and networks are small.

    git clone https://github.com/pyro-ppl/pyro
    python benchmarks/pyro_examples.py pyro --out docs/pyro_examples.md
"""

import argparse
import fnmatch
import logging
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import pyro
import torch
from pyro_cases import examples, tutorials  # noqa: F401 - they register their cases
from pyro_cases.case import MAKERS
from pyro_cases.source import Source
from pyro_cases.table import table
from pyro_cases.trial import Result, try_out

from pyro_vae._torchvision import torchvision


def results(source: Source, only: str) -> Iterator[tuple[str, Result]]:
    """A row a case, of the files that are there; one that cannot be made says why."""
    for file, cases in MAKERS.items():
        if not source.has(file) or not fnmatch.fnmatch(file, only):
            continue
        torch.set_default_dtype(torch.float32)
        pyro.set_rng_seed(0)
        pyro.clear_param_store()
        try:
            for case in cases(source):
                yield file, try_out(case)
                pyro.clear_param_store()
        except Exception as error:
            traceback.print_exc()
            yield (
                file,
                Result(Path(file).stem, fit="not made", wrong=[f"{type(error).__name__}: {error}"]),
            )


def described(file: str, result: Result) -> str:
    """A case's row for the terminal: the words, the sentences behind them, the faults."""
    times = ", ".join(f"{seconds:.1f}" for seconds in result.seconds.values())
    words = " | ".join((result.fit, result.loss, result.evidence, result.diagram))
    said = [f"    {verb}: {sentence}" for verb, sentence in result.said.items()]
    wrong = [f"    WRONG {sentence}" for sentence in result.wrong]
    return "\n".join([f"{file}: {result.name} | {words} ({times} s)", *said, *wrong])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="a checkout of Pyro")
    parser.add_argument("--only", default="*", help="a pattern for the files, such as '*hmm*'")
    parser.add_argument("--out", type=Path, help="a Markdown file to write")
    options = parser.parse_args()
    source = Source(options.path.resolve())
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    torchvision()  # Pyro's examples import it
    rows: list[tuple[str, Result]] = []
    for file, result in results(source, options.only):
        rows.append((file, result))
        print(described(file, result), flush=True)
    if options.out is not None:
        options.out.write_text(table(source.commit, pyro.__version__, rows))


if __name__ == "__main__":
    main()
