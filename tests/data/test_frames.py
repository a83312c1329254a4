"""What becomes of a table's columns: words, truth values, dates, and numbers of all kinds."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from refused import refused

from pyro_vae.data import Column, Kind, load
from pyro_vae.data.columns.frames import numeric_columns
from pyro_vae.data.columns.kinds import kind_of, kind_of_all

N = 1200


def _draws(seed: int) -> dict[str, tuple[np.ndarray, Kind]]:
    """Values drawn from one distribution of each kind, and the kind."""
    rng = np.random.default_rng(seed)
    return {
        "normal": (rng.normal(40, 12, N), Kind.REAL),
        "whole degrees": (rng.normal(10, 8, N).round(), Kind.REAL),
        "years": (rng.integers(1960, 2020, N), Kind.REAL),
        "log-normal": (rng.lognormal(8, 0.6, N), Kind.POSITIVE),
        "salaries": (rng.lognormal(10, 0.6, N).round(), Kind.POSITIVE),
        "poisson": (rng.poisson(2, N), Kind.COUNT),
        "many": (rng.poisson(100, N), Kind.COUNT),
        "overdispersed": (rng.negative_binomial(1, 0.01, N), Kind.COUNT),
        "answers": (rng.binomial(4, 0.6, N) + 1, Kind.GRADE),
        "visits, half of them none": (rng.poisson(3, N) * rng.integers(0, 2, N), Kind.COUNT),
        "two codes": (rng.integers(1, 3, N), Kind.GRADE),
        "digits": (rng.integers(0, 10, N), Kind.GRADE),
        "zeros and ones": (rng.integers(0, 2, N), Kind.BINARY),
        "rain": (rng.normal(size=N).clip(0), Kind.REAL),
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", _draws(0))
def test_kinds_are_those_that_the_values_were_drawn_from(name: str, seed: int) -> None:
    values, kind = _draws(seed)[name]
    values = values.astype(np.float64)
    values[::10] = np.nan
    assert kind_of(values) is kind


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([7.0] * 9, Kind.GRADE),
        ([7.5] * 9, Kind.REAL),
        ([-7.0] * 9, Kind.REAL),
        ([0.0] * 9, Kind.BINARY),
        ([np.nan] * 9, Kind.REAL),
        ([-1.0, 1.0] * 9, Kind.REAL),
        ([1e300, 2.0, 3.0], Kind.POSITIVE),
    ],
)
def test_columns_with_little_in_them(values: list[float], kind: Kind) -> None:
    assert kind_of(np.array(values)) is kind


def test_the_columns_of_a_matrix_are_of_one_kind() -> None:
    counts = np.random.default_rng(0).poisson(0.06, (300, 60)).astype(float)
    assert {kind_of(column) for column in counts.T} == {Kind.BINARY, Kind.COUNT}  # each by itself
    counts[0] = 100
    assert kind_of_all(counts.T) is Kind.COUNT
    frame = pd.DataFrame(counts, columns=[f"gene{j}" for j in range(60)])
    _, columns, _ = numeric_columns("genes", frame, {})
    assert {column.kind for column in columns} == {Kind.COUNT}
    for constant in (0.0, 2.0):  # a gene that is nowhere seen, or as often everywhere
        for place in (0, 5):
            counts[:, place] = constant
            assert kind_of_all(counts.T) is Kind.COUNT
    counts[:, 5] = -1.0
    assert kind_of_all(counts.T) is Kind.REAL


@pytest.mark.parametrize("spread", [0.4, 0.7, 1.5])
@pytest.mark.parametrize("rows", [5, 50, 500])
def test_answers_on_a_scale_are_no_measurements(rows: int, spread: float) -> None:
    answers = np.random.default_rng(rows).normal(3, spread, rows).round().clip(1, 5)
    assert kind_of(answers) in (Kind.GRADE, Kind.COUNT)
    shifted = np.stack([answers, answers + 0.5])  # where one column is measured, all are
    assert kind_of_all(shifted) is Kind.REAL


def test_a_matrix_of_answers_is_on_one_scale() -> None:
    answers = 1 + np.random.default_rng(0).binomial(4, 0.6, (300, 60))
    answers[answers[:, 7] == 5, 7] = 4
    frame = pd.DataFrame(answers, columns=[f"q{j}" for j in range(60)])
    _, columns, _ = numeric_columns("answers", frame, {})
    assert {column.kind for column in columns} == {Kind.GRADE}
    assert {column.num_categories for column in columns} == {6}


def test_words_truths_and_dates_become_numbers_and_keep_their_names() -> None:
    frame = pd.DataFrame(
        {
            "smoker": ["yes", "no", None, "no"] * 5,
            "job": ["nurse", "cook", "clerk", None] * 5,
            "ill": [True, False, False, True] * 5,
            "maybe": [True, None, False, True] * 5,
            "visit": ["2020-01-01", "1970-01-02", None, "1969-12-31"] * 5,
            "seen": ["1.1.1970", "31.12.1970", "2.1.1970", "1.2.1970"] * 5,
            "at": pd.to_datetime(["1970-01-01T12", None, "1970-01-03T00", "1970-01-02T00"] * 5),
        }
    )
    values, columns, said = numeric_columns("people", frame, {})
    nan = np.nan
    assert not said
    np.testing.assert_array_equal(
        values[:4],
        [
            [1, 2, 1, 1, 18262, 0, 0.5],
            [0, 1, 0, nan, 1, 364, nan],
            [nan, 0, 0, 0, nan, 1, 2],
            [0, nan, 1, 1, -1, 31, 1],
        ],
    )
    assert columns == [
        Column("smoker", Kind.BINARY, ("no", "yes")),
        Column("job", Kind.CATEGORY, ("clerk", "cook", "nurse")),
        Column("ill", Kind.BINARY, ("False", "True")),
        Column("maybe", Kind.BINARY, ("False", "True")),
        Column("visit", Kind.DATE),
        Column("seen", Kind.DATE),
        Column("at", Kind.TIME),
    ]


def test_a_person_decides() -> None:
    frame = pd.DataFrame({"clinic": [10.0, 20.0, None, 5.0] * 5, "n": [1, 5, 1, 5] * 5})
    kinds = {"clinic": Kind.CATEGORY, "n": Kind.REAL}
    values, columns, _ = numeric_columns("t", frame, kinds)
    assert columns == [Column("clinic", Kind.CATEGORY, ("5", "10", "20")), Column("n", Kind.REAL)]
    np.testing.assert_array_equal(values[:4, 0], [1, 2, np.nan, 0])
    np.testing.assert_array_equal(values[:4, 1], [1, 5, 1, 5])


def test_what_only_names_the_rows_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    rows = [f"{i % 7}.5,patient {i},{i % 12 + 1}/{i % 12 + 1}/2020\n" for i in range(40)]
    (tmp_path / "t.csv").write_text("a,name,day\n" + "".join(rows))
    data = load(str(tmp_path / "t.csv"))
    assert data.train.column_names == ("a",)
    said = data.describe().splitlines()[1:]
    assert (
        "'name' is left out: 40 different words in 40 rows are too many for categories" in said[0]
    )
    assert "'day' is left out: its dates may begin with the day or the month" in said[1]
    kept = load(str(tmp_path / "t.csv"), kinds={"name": "category"})
    assert kept.train.columns is not None
    assert len(kept.train.columns[1].categories or ()) == 40
    assert torch.equal(kept.train.read()[:, 1].unique(), kept.train.read()[:, 1].sort().values)


def test_only_columns_that_float32_could_not_tell_apart_are_centred(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "seconds": 1.7e9 + rng.normal(size=60),
            "job": rng.choice(["nurse", "cook", "clerk"], 60),
            "visits": rng.poisson(3, 60),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = load(str(tmp_path / "t.csv"))
    x = data.train.read()
    assert x[:, 0].mean().abs() < 1e-4
    assert set(x[:, 1].tolist()) == {0, 1, 2}
    assert torch.equal(x[:, 2], x[:, 2].round())
    assert "; seconds centred at the training rows' mean" in data.describe()
    assert data.train.scale is not None
    assert (data.train.scale == 1).all()  # so that densities are those of seconds
    places = data.train.places
    assert places is not None
    back = data.train.to_original(x.double())
    np.testing.assert_allclose(back[:, 0], frame["seconds"].to_numpy()[places], rtol=0, atol=1e-5)
    whole = load(str(tmp_path / "t.csv"), standardize=True)
    assert whole.train.columns is not None
    assert [column.kind for column in whole.train.columns] == [Kind.REAL, Kind.CATEGORY, Kind.REAL]
    assert set(whole.train.read()[:, 1].tolist()) == {0, 1, 2}


def test_what_is_written_has_the_digits_of_the_file(tmp_path: Path) -> None:
    """Numbers of nine digits and times to the second, of which float32 keeps neither."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "account": rng.integers(10**8, 2 * 10**8, 500),
            "at": pd.date_range("2024-01-01 00:00:01", periods=500, freq="6h").astype(str),
            "price": (rng.gamma(2, 1e5, 500)).round(3),
            "age": rng.normal(40, 12, 500).round(1),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    train = load(str(tmp_path / "t.csv")).train
    assert train.columns is not None
    assert train.places is not None
    there = frame.iloc[train.places.numpy()]
    for column, values in zip(train.columns, train.x.T.numpy(), strict=True):
        wanted = there[column.name].tolist()
        if column.name == "at":
            wanted = [at.replace(" ", "T") for at in wanted]
        assert list(column.decode(values)) == wanted
    back = train.to_original(train.read())[:, 1].numpy()  # a model's values, to a second
    np.testing.assert_allclose(back, train.x[:, 1], rtol=0, atol=0.5 / 86_400)


def test_a_column_without_values_is_left_out_and_one_of_one_word_is_kept(tmp_path: Path) -> None:
    path = str(tmp_path / "t.csv")
    Path(path).write_text("a,nothing,word\n" + "1.5,,x\n2.5,,x\n4.5,,\n" * 7)
    data = load(path, missing=True)
    assert data.train.columns == (Column("a"), Column("word", Kind.CATEGORY, ("x",)))
    assert data.remarks == ("column 'nothing' is left out: it has no value in any row",)
    with refused("nothing", remedy="leave it out"):
        load(path, missing=True, columns=["a", "nothing"])


def test_decimal_numbers_of_a_parquet_file(tmp_path: Path) -> None:
    prices = [Decimal(f"{i}.{i:02d}") for i in range(30)]
    pd.DataFrame({"price": prices, "n": range(30, 60)}).to_parquet(tmp_path / "t.parquet")
    train = load(str(tmp_path / "t.parquet")).train
    assert train.places is not None
    np.testing.assert_array_equal(
        train.x[:, 0], [float(prices[place]) for place in train.places.tolist()]
    )


def test_token_ids_that_are_padded_with_zeros_are_grades() -> None:
    rng = np.random.default_rng(0)
    names = rng.integers(1, 25, (1500, 30))
    names[np.arange(30) >= rng.integers(8, 28, 1500)[:, None]] = 0
    assert (names[:, -2:] == 0).all()  # which are of one value
    assert kind_of_all(names.T) is Kind.GRADE


def test_columns_without_a_value_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,nothing,b\n" + "".join(f"{i}.5,,{i}\n" for i in range(20)))
    data = load(str(tmp_path / "t.csv"))
    assert data.train.column_names == ("a", "b")
    assert "column 'nothing' is left out: it has no value in any row" in data.describe()


def test_numbers_that_never_vary_are_left_out_where_only_a_density_could_say_so(
    tmp_path: Path,
) -> None:
    lines = "".join(f"{i}.5,7.5,3,-2,yes\n" for i in range(20))
    (tmp_path / "t.csv").write_text("a,half,three,minus,word\n" + lines)
    data = load(str(tmp_path / "t.csv"))
    assert data.train.column_names == ("a", "three", "minus", "word")
    assert "'half' is left out: it is 7.5 in every row, and its density" in data.describe()
    asked = load(str(tmp_path / "t.csv"), columns=["a", "half"])
    assert asked.train.column_names == ("a", "half")


def test_times_keep_their_seconds(tmp_path: Path) -> None:
    times = pd.date_range("2024-01-01 00:00:07", periods=3000, freq="h")
    pd.DataFrame({"time": times, "x": np.arange(3000.0) / 7}).to_csv(
        tmp_path / "t.csv", index=False
    )
    data = load(str(tmp_path / "t.csv"))
    assert data.train.columns is not None
    column, places = data.train.columns[0], data.train.places
    assert column.kind is Kind.TIME
    assert places is not None
    written = list(column.decode(data.train.x[:, 0].numpy()))
    assert written == [str(times[i]).replace(" ", "T") for i in places.tolist()]
    back = data.train.to_original(data.train.read().double())[:, 0]
    assert (back - data.train.x[:, 0]).abs().max() < 2 / 86_400
