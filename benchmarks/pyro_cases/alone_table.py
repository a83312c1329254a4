"""The comparison with guides that were thrown away, as Markdown."""

from collections.abc import Sequence
from statistics import mean

from pyro_cases.alone import ERRORS, PARTICLES, RATES, STEPS, Comparison

HEAD = """## Pyro's examples, their guides thrown away

Each program of [pyro_examples.md](pyro_examples.md) that draws latents is fitted twice: with its own guide,
and as a bare model with the guide that `fit` makes. Both get the same data and {steps} steps of Adam over
all rows, twice, as its learning rate falls along a cosine from {rates}; each guide has the figures of the
better rate. Seeds: {seeds} (one if a fit is slow). ELBOs are of all data in nats (the mean
over the seeds, from {particles} draws each; larger is better), and so are the bounds of the evidence with
{particles} particles. The error of a difference is from the spread over seeds or from the draws, whichever
is larger; a difference is **worse** if it is below -{errors:g} errors. Where `log_evidence` refuses a
program, the ELBO is that of Pyro's traces. Pyro {version}; the programs are those of commit `{commit}`.

So few steps leave many guides far from their best, the examples' among them (an AutoNormal starts at the
prior's median and moves by about the learning rate a step). "Better" says that the made guide was further
after the same steps, not that its best is better.

{kept} of {counted} programs that always draw the same latents are fitted with an ELBO that is no worse
({share:.0%}); {better} of them are better. {refused} are refused.

| file | program | ELBO, own guide | made guide | difference | bounds, own / made | verdict |
| --- | --- | --- | --- | --- | --- | --- |
"""


def section(commit: str, version: str, rows: Sequence[tuple[str, Comparison]]) -> str:
    counted = [result for _, result in rows if result.counts]
    kept = [result for result in counted if result.is_kept]
    head = HEAD.format(
        steps=STEPS, rates=" and ".join(f"{rate:g}" for rate in RATES),
        seeds=max(1, *(len(r.ours) for r in counted)),
        particles=PARTICLES, errors=ERRORS,
        version=version, commit=commit, kept=len(kept), counted=len(counted),
        share=len(kept) / max(1, len(counted)),
        better=sum(result.verdict == "better" for result in kept),
        refused=sum(result.verdict == "refused" for result in counted),
    )  # fmt: skip
    notes: dict[str, int] = {}
    lines, before = [], ""
    for file, result in rows:
        said = ""
        if result.said:
            said = f" [{notes.setdefault(result.said, len(notes) + 1)}]"
        cells = [file if file != before else "", result.name, *figures(result)]
        lines.append(f"| {' | '.join([*cells, result.verdict.lstrip('- ') + said])} |")
        before = file
    sentences = [f"{number}. {sentence}" for sentence, number in notes.items()]
    return head + "\n".join([*lines, "", *sentences]) + "\n"


def figures(result: Comparison) -> list[str]:
    """Return the columns of numbers."""
    if not result.theirs:
        return [""] * 4
    off, error = result.difference()
    theirs, ours = result.theirs, result.ours
    elbos = [f"{mean(f.elbo for f in each):.6g}" for each in (theirs, ours)]
    bounds = [f"{mean(f.bound for f in each):.6g}" for each in (theirs, ours)]
    return [*elbos, f"{off:+.3g} ± {error:.2g}", " / ".join(bounds)]
