"""The results as a page of Markdown: a row a program, and below it each sentence with its programs."""

from collections.abc import Iterable, Iterator

from pyro_cases.examples import NOT_TRIED
from pyro_cases.trial import EPOCHS, PARTICLES, Result

HEAD = """# Pyro's examples and tutorials

This page shows how `fit`, `log_evidence` and `render_model` treat Pyro's own programs: every program in
Pyro's `examples/` and tutorials that runs offline. Read it to see whether a program like yours works, and
whether the figures are Pyro's. The networks are small and the data are drawn. Pyro {version}; the programs
are those of commit `{commit}`.

    git clone https://github.com/pyro-ppl/pyro
    python benchmarks/pyro_examples.py pyro --out docs/pyro_examples.md

The columns:

- **fit**: how {epochs} epochs of `fit` run: as one graph ([speed.md](speed.md)), or in Python.
- **loss**: "=" if the loss of the first step equals Pyro's ELBO at the same parameters, with the same noise
  and the same order of the rows (`shuffle=False`; but `fit` itself must detect that rows have a place).
- **evidence**: the total of `log_evidence` with {particles} particles. The benchmark compares its mean
  log-weight, the ELBO, with that of Pyro's traces, and the figure itself where Pareto k is below 0.7.
- **diagram**: the number of edges between sites; in brackets Pyro's number, if it differs. The benchmark
  tests each of Pyro's edges that the diagram lacks: the target does not depend on the source.

A figure is **bold** and listed at the end if it differs from Pyro's: a loss by more than rounding, an
estimate by more than 4 standard errors. A number in square brackets refers to a message below the table.
"""


def table(commit: str, version: str, rows: Iterable[tuple[str, Result]]) -> str:
    rows = list(rows)
    notes: dict[str, int] = {}

    def marked(word: str, sentence: str | None) -> str:
        if not sentence:
            return word
        return f"{word} [{notes.setdefault(sentence, len(notes) + 1)}]"

    head = HEAD.format(version=version, commit=commit, epochs=EPOCHS, particles=PARTICLES)
    lines = [
        head,
        "| file | program | fit | loss | evidence | diagram |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    before = ""
    for file, result in rows:
        fitted = result.said.get("fit") if result.fit != "graph" else None
        cells = [
            file if file != before else "",
            result.name,
            marked(result.fit, fitted),
            result.loss,
            marked(result.evidence, result.said.get("evidence")),
            marked(result.diagram, result.said.get("diagram")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
        before = file
    lines += ["", *(f"{number}. {sentence}" for sentence, number in notes.items())]
    lines += ["", "Not tried:", "", *(f"- {files}: {why}" for files, why in NOT_TRIED.items())]
    wrong = list(faults(rows))
    lines += ["", f"Faults: {len(wrong) or 'none'}.", *([""] if wrong else []), *wrong]
    return "\n".join(lines) + "\n"


def faults(rows: Iterable[tuple[str, Result]]) -> Iterator[str]:
    for file, result in rows:
        for sentence in result.wrong:
            yield f"- **{file}, {result.name}**: {sentence}"
