"""The report on made-up rows as text, and as one page of HTML that loads nothing."""

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from pyro_vae.notebook import table

if TYPE_CHECKING:
    from pyro_vae.inference.synthesis.report import SynthesisReport

MOST_LINES = 12  # of columns, in the text
NO_GUARANTEE = (
    "These figures are no guarantee of privacy: a model can repeat what is rare in its training rows, and "
    "other attacks than this one may find more."
)
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Made-up rows</title>'
    '<body style="font-family:sans-serif;max-width:70em;margin:2em auto;padding:0 1em">'
)


def text_of(report: "SynthesisReport") -> str:
    """Return the figures as text."""
    worst = sorted(report.distances, key=lambda d: -np.nan_to_num(d.distance))
    lines = [_size(report), "", f"{'column':<24}{'distance':>10}{'noise':>8}  worst category"]
    for d in worst[:MOST_LINES]:
        ratio = "" if d.worst_ratio is None else f"{d.worst_ratio:.2f} times its share"
        lines.append(f"{d.name[:23]:<24}{d.distance:>7.3f} {d.measure}{d.noise:>8.3f}  {ratio}")
    if len(worst) > MOST_LINES:
        lines.append(f"... and {len(worst) - MOST_LINES} columns that are nearer")
    lines += ["", _associations(report)]
    for u in report.utilities:
        lines.append(
            f"{u.classifier} of {report.target}: F1 {u.made:.3f} after the made-up rows, {u.real:.3f} "
            f"after the real ones (ratio {u.ratio:.3f}); accuracy {u.made_accuracy:.3f} and "
            f"{u.real_accuracy:.3f}"
        )
    return "\n".join([*lines, *_copies(report), NO_GUARANTEE])


def html_page(report: "SynthesisReport", whole: bool = True) -> str:
    """Return the report as HTML; ``whole``: as a page of its own."""
    rows = [
        (d.name, d.measure, f"{d.distance:.3f}", f"{d.noise:.3f}", _ratio(d.worst_ratio))
        for d in report.distances
    ]
    headings = ("column", "", "distance", "noise", "worst category")
    of_columns = table(
        rows,
        headings,
        "Distribution of each column",
        (
            "TV: total variation; KS: largest distance of the distribution functions. Noise: what two "
            "samples of one distribution, of these sizes, would have on average. The worst category is the "
            "share of a category, of those above 1 %, over its share in the data.",
            _associations(report),
        ),
    )
    of_utility = table(
        [
            (u.classifier, f"{u.made:.3f}", f"{u.real:.3f}", f"{u.ratio:.3f}",
             f"{u.made_accuracy:.3f}", f"{u.real_accuracy:.3f}")
            for u in report.utilities
        ],
        ("classifier", "F1, made-up rows", "F1, real rows", "ratio", "accuracy, made-up", "accuracy, real"),
        f"Trained on made-up and on real rows to predict {report.target}, tested on held-out real rows",
    )  # fmt: skip
    copies = "".join(f"<p>{escape(line)}</p>" for line in [*_copies(report), NO_GUARANTEE])
    body = (
        f"<h1>Made-up rows</h1><p>{escape(_size(report))}</p>{_picture(report)}{of_columns}"
        f"{of_utility if report.utilities else ''}{_nearest(report)}{copies}"
    )
    return f"{_PAGE}{body}</body></html>\n" if whole else body


def _size(report: "SynthesisReport") -> str:
    return f"{len(report.made):,} made-up rows, beside {len(report.real):,} training rows"


def _associations(report: "SynthesisReport") -> str:
    return (
        "Associations of pairs of columns (Cramér's V): mean absolute difference "
        f"{report.association_error:.3f}."
    )


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _copies(report: "SynthesisReport") -> list[str]:
    c = report.copies
    return [
        f"Equal to a training row: {c.exact:.2%} of the made-up rows, and {c.exact_held_out:.2%} of the "
        f"held-out rows. Median distance to the nearest training row: {c.distance:.3f}, and "
        f"{c.distance_held_out:.3f} of held-out rows.",
        "Guessing from the nearest made-up row who was trained on: AUROC "
        f"{c.membership:.3f} ± {c.membership_error:.3f} (0.5: the guess tells nothing).",
    ]


def _nearest(report: "SynthesisReport") -> str:
    """Return the made-up rows that lie nearest to a training row."""
    columns = report.columns[:8]
    rows = [
        tuple(str(next(iter(c.decode(report.made[i, j : j + 1])))) for j, c in enumerate(columns))
        for i in report.copies.nearest
    ]
    names = tuple(column.name for column in columns)
    return table(rows, names, "The made-up rows that lie nearest to a training row")


def _picture(report: "SynthesisReport") -> str:
    buffer = io.BytesIO()
    report.plot().savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img style="max-width:100%" alt="distributions" src="data:image/png;base64,{data}">'
