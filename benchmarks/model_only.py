"""Models without a guide: Pyro's examples, their guides thrown away, and first models of known evidence.

The programs of the first part are Pyro's and not part of this repository: say where they lie, or leave the
path out for the second part alone. Nothing is downloaded.

    git clone https://github.com/pyro-ppl/pyro
    python benchmarks/model_only.py pyro --out docs/model_only_examples.md
"""

import argparse
import fnmatch
import json
import logging
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import first_models.table
import pyro
import torch
from first_models.stories import STORIES
from first_models.weighing import Row, row_of
from pyro_cases import (
    alone_table,
    examples,  # noqa: F401 - they register their cases
    tutorials,  # noqa: F401
)
from pyro_cases.alone import COPIES, SEEDS, Comparison, compare, restored
from pyro_cases.case import MAKERS, Case, Maker
from pyro_cases.source import Source

from pyro_vae._torchvision import torchvision

HEAD = """# Models without a guide: what comes out

How good is the guide that `fit` makes of a bare model ([model_only.md](model_only.md))? This page is the
output of

    git clone https://github.com/pyro-ppl/pyro
    python benchmarks/model_only.py pyro --out docs/model_only_examples.md

"""


def comparisons(
    source: Source, only: str, seeds: int, done: set[tuple[str, str]]
) -> Iterator[tuple[str, Comparison]]:
    """A row a case, of the files that are there, but those done; one that cannot be made says why."""
    for file, maker in MAKERS.items():
        if not source.has(file) or not fnmatch.fnmatch(file, only):
            continue
        try:
            copies = [made(maker, source) for _ in range(COPIES * seeds)]
        except Exception as error:
            traceback.print_exc()
            yield file, Comparison(Path(file).stem, "not made", repr(error))
            continue
        for same in zip(*copies, strict=True):
            if (file, same[0].name) not in done:
                yield file, compare(same)


def made(maker: Maker, source: Source) -> list[Case]:
    """The cases of a file, always the same."""
    torch.set_default_dtype(torch.float32)
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    return list(maker(source))


def described(file: str, result: Comparison) -> str:
    """A case's row for the terminal."""
    words = " | ".join([*alone_table.figures(result), result.verdict, result.said])
    return f"{file}: {result.name} | {words} ({result.seconds:.1f} s)"


def kept(path: Path | None) -> list[tuple[str, Comparison]]:
    """The rows that a file holds, in the order of the files' cases."""
    lines = path.read_text().splitlines() if path is not None and path.exists() else []
    return [(file, restored(row)) for file, row in map(json.loads, lines)]


def told(row: Row) -> str:
    """A first model's row for the terminal."""
    return " | ".join([*first_models.table.cells(row), *row.said])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", help="a checkout of Pyro")
    parser.add_argument("--only", default="*", help="a pattern for the files, such as '*hmm*'")
    parser.add_argument("--first", default="*", help="a pattern for the first models; '' for none")
    parser.add_argument("--seeds", type=int, default=5, help="at most; the first part takes three")
    parser.add_argument(
        "--rows", type=Path, help="JSON Lines: rows that are there are not made again"
    )
    parser.add_argument("--out", type=Path, help="a Markdown file to write")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    parts = [HEAD]
    if options.path is not None:
        torchvision()  # Pyro's examples import it
        source, rows = Source(options.path.resolve()), kept(options.rows)
        done, seeds = {(file, result.name) for file, result in rows}, min(len(SEEDS), options.seeds)
        for file, result in comparisons(source, options.only, seeds, done):
            rows.append((file, result))
            print(described(file, result), flush=True)
            if options.rows is not None:
                with options.rows.open("a") as stream:
                    print(json.dumps((file, asdict(result))), file=stream)
        rows.sort(key=lambda row: list(MAKERS).index(row[0]))
        parts.append(alone_table.section(source.commit, pyro.__version__, rows) + "\n")
    firsts: list[Row] = []
    for story in STORIES:
        if fnmatch.fnmatch(story.name, options.first):
            firsts.append(row_of(story, range(options.seeds)))
            print(told(firsts[-1]), flush=True)
    if options.out is not None:
        options.out.write_text("".join([*parts, first_models.table.section(firsts)]))


if __name__ == "__main__":
    main()
