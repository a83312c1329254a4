"""The results as a page of Markdown: a row a program, and below it each sentence with its programs."""

from collections.abc import Iterable, Iterator

from pyro_cases.examples import NOT_TRIED
from pyro_cases.trial import EPOCHS, PARTICLES, Result

HEAD = """# Pyro's examples and tutorials

By `python benchmarks/pyro_examples.py PATH_OF_PYRO --out docs/pyro_examples.md`: every program in Pyro's
`examples/` and tutorials that runs offline, with small networks and drawn data, under Pyro {version};
the programs are those of commit `{commit}`.

- **fit**: how {epochs} epochs of `fit` ran: as one graph, or in Python, with the reason below.
- **loss**: "=" where that of the first step is Pyro's own ELBO at the same parameters, with the same noise
  and rows in the same order (by `shuffle=False`; where rows have a place, `fit` must see it).
- **evidence**: the total of `log_evidence` with {particles} particles, held against weights of Pyro's own
  traces: its mean log-weight, the ELBO, always; the figure itself where Pareto's k is below 0.7.
- **diagram**: how many edges between sites there are; in brackets, Pyro's number where it is another one.
  Each of Pyro's that is lacking was tried: nothing moves along it.

What differs by more than rounding (of losses) or 4 standard errors (of estimates) is **bold** and listed at
the end.
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
