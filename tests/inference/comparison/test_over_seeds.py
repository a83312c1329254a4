"""Several fits of each model: the interval by another route, its coverage, what is marked and refused."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from refused import refused
from scipy import stats
from torch import Tensor

from pyro_vae.inference import Column, Evidence, Figures, LogEvidence, OverSeeds
from pyro_vae.inference.comparison.compare import compared
from pyro_vae.inference.comparison.lineup import Candidate

RNG = np.random.default_rng(0)


def candidate(name: str, rows: Tensor, unit: str | None = "rows") -> Candidate:
    """A model whose log p of each row is known."""
    zeros = torch.zeros_like(rows)
    nan = torch.full_like(rows, math.nan)
    return Candidate(name, Evidence(rows, zeros, nan, nan, 1, unit, "exact", True, is_exact=True))


def over(by_seed: list[dict[str, Tensor]], reference: str = "b", **options) -> OverSeeds:
    columns = options.pop("columns", (LogEvidence(),))
    unit = options.pop("unit", "rows")
    return OverSeeds(
        [
            compared(
                [candidate(n, r, unit) for n, r in rows.items()], columns, reference, sort=False
            )
            for rows in by_seed
        ]
    )


def fits(
    lead: float, count: int = 5, rows: int = 40, spread: float = 0.1
) -> list[dict[str, Tensor]]:
    """Log p of rows under models a and b: rows differ, so do fits, and a is ahead by ``lead`` a row."""
    level, tilt = RNG.normal(size=rows), 0.3 * RNG.normal(size=rows)

    def one(ahead: float, tilted: float) -> Tensor:
        return torch.as_tensor(level + ahead + tilted * tilt + spread * RNG.normal())

    return [{"a": one(lead, 1.0), "b": one(0.0, 0.0)} for _ in range(count)]


def test_the_interval_is_that_of_another_route() -> None:
    by_seed = fits(0.2)
    found = over(by_seed)
    (gap,) = found.gaps
    a, b = (np.stack([rows[name].numpy() for rows in by_seed]) for name in "ab")
    totals = a.sum(1), b.sum(1)
    assert gap.value == pytest.approx(totals[0].mean() - totals[1].mean())
    of_rows = 40 * (a - b).mean(0).var(ddof=1)
    of_fits = sum(t.var(ddof=1) / 5 for t in totals)
    assert gap.error == pytest.approx(math.sqrt(of_rows + of_fits))
    still = over(
        [dict(rows) for rows in by_seed], unit=None
    )  # joint figures have no error over rows
    assert still.gaps[0].error == pytest.approx(math.sqrt(of_fits)) if len(b) else False
    welch = stats.ttest_ind(*totals, equal_var=False).confidence_interval()
    assert still.gaps[0].low == pytest.approx(welch.low)
    assert still.gaps[0].high == pytest.approx(welch.high)


def test_equal_models_are_told_apart_once_in_twenty() -> None:
    count = 400
    wrong = sum(over(fits(0.0)).gaps[0].is_beyond_noise for _ in range(count))
    assert wrong / count < 0.05 + 3 * math.sqrt(0.05 * 0.95 / count)
    assert wrong > 0
    right = sum(over(fits(1.0)).gaps[0].is_beyond_noise for _ in range(50))
    assert right == 50


@dataclass(frozen=True)
class Known(Column):
    """A figure that is the first row's, one that is the same for all, and one that a has not."""

    def figures(self, lineup):
        first = tuple(float(c.evidence.log_evidence[0]) for c in lineup.candidates)
        yield Figures("first", ("",) * len(first), {"first": first})
        yield Figures("same", ("",) * len(first), {"same": (7.0,) * len(first)})
        some = tuple(math.nan if name == "a" else 1.0 for name in lineup.names)
        yield Figures("some", ("",) * len(first), {"some": some})


def test_other_columns_have_mean_spread_and_mark() -> None:
    found = over(fits(3.0), columns=(LogEvidence(), Known()))
    frame, text = found.to_frame(), str(found)
    firsts = [of.to_frame()["first"]["a"] for of in found.comparisons]
    assert frame["first"]["a"] == pytest.approx(np.mean(firsts))
    assert frame["first_sd"]["a"] == pytest.approx(np.std(firsts, ddof=1))
    (line,) = [line for line in text.splitlines() if line.startswith("a ")]
    assert "7.000" in line and "7.000 *" not in line  # noqa: PT018
    assert f"{np.mean(firsts):.1f}" in line
    assert line.endswith("-")
    assert line.count("*") == 2  # log p(data), and the first row's
    assert found.names == ["a", "b"]
    figures = json.loads(json.dumps(found.to_dict()))
    assert figures["models"]["a"]["some"] is None
    assert figures["seeds"] == 5


def test_it_is_said_who_is_better() -> None:
    words = " ".join(over(fits(3.0)).notes)
    assert "'a' is better than 'b' beyond noise" in words
    assert "do not differ beyond noise" in " ".join(over(fits(0.0, spread=2.0)).notes)


def test_what_is_refused() -> None:
    by_seed = fits(0.0)
    with refused("comparisons"):
        over(by_seed[:1])
    with refused("comparisons", remedy="reference="):
        OverSeeds([over(by_seed, "a").comparisons[0], over(by_seed, "b").comparisons[0]])
    with refused("comparisons", expected="same models"):
        others = [{"b": rows["b"], "c": rows["a"]} for rows in by_seed]
        OverSeeds([over(by_seed).comparisons[0], over(others).comparisons[0]])
