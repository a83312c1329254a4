"""First models at the defaults, as Markdown."""

import math
from collections.abc import Sequence
from statistics import mean

from first_models.weighing import ERROR, NATS, Row

HEAD = """## First models, at the defaults

`fit(model, data)` and `log_evidence`, both at the defaults, against the exact log p of all data: by
quadrature, enumeration, the forward algorithm or a closed form, in float64. {seeds} seeds each, with new
data for each (the eight schools' are always the same). A figure is right within {nats:g} nats, if its
standard error is at most {error:g}. Where K labels can be exchanged, the posterior has K! equal modes, and
a guide that finds one of them gives figures that are log K! low; a note of `log_evidence` names the
labels. Those models are weighed by `Importance(symmetrize=True)`, which mixes the guide over all orders.

{right} of {all} figures are right.

| model | log p, mean | gap of ELBO | off, by seed (its error) | log K! | Pareto k, most | seconds | right |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def section(rows: Sequence[Row]) -> str:
    head = HEAD.format(
        seeds=max((row.num_seeds for row in rows), default=0),
        nats=NATS,
        error=ERROR,
        right=sum(w.is_right for row in rows for w in row.weighed),
        all=sum(row.num_seeds for row in rows),
    )
    said = {f"- {row.story.name}: {sentence}" for row in rows for sentence in row.said}
    noted = {f"- {row.story.name}: {note}" for row in rows for w in row.weighed for note in w.notes}
    lines = [f"| {' | '.join(cells(row))} |" for row in rows]
    return head + "\n".join([*lines, "", *sorted(said), *sorted(noted)]) + "\n"


def cells(row: Row) -> list[str]:
    """Return a story's row."""
    labels = f"{math.lgamma(row.story.labels + 1):.2f}" if row.story.labels > 1 else ""
    if not row.weighed:
        return [row.story.name, "", "", row.said[0].partition(":")[0], labels, "", "", "0"]
    w = row.weighed
    return [
        row.story.name,
        f"{mean(x.exact for x in w):.2f}",
        f"{mean(x.exact - x.elbo for x in w):.3f}",
        ", ".join(f"{x.off:+.3f} ({x.error:.3f})" for x in w),
        labels,
        f"{max(x.pareto_k for x in w):.2f}",
        f"{mean(x.seconds for x in w):.0f}",
        f"{sum(x.is_right for x in w)} of {row.num_seeds}",
    ]
