"""The results as a page of Markdown: a row a program, and below it each sentence with its programs."""

from collections.abc import Iterable, Iterator

from pyro_cases.trial import Result


def table(commit: str, version: str, rows: Iterable[tuple[str, Result]]) -> str:
    rows = list(rows)
    notes: dict[str, int] = {}

    def marked(word: str, sentence: str | None) -> str:
        if not sentence:
            return word
        return f"{word} [{notes.setdefault(sentence, len(notes) + 1)}]"

    lines = [
        f"Pyro {version}; the programs of commit `{commit}`.",
        "",
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
    return "\n".join([*lines, "", *faults(rows)]) + "\n"


def faults(rows: Iterable[tuple[str, Result]]) -> Iterator[str]:
    for file, result in rows:
        for sentence in result.wrong:
            yield f"- **{file}, {result.name}**: {sentence}"
