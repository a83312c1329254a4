"""Columns of a table as a model's arguments: what each is given, in which order, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from stories import RNG
from torch import Tensor, nn

from pyro_vae import fit
from pyro_vae.data import DataSet, batches, blank_data_set, load, metadata_of
from pyro_vae.likelihoods import HeteroscedasticNormal
from pyro_vae.networks import Scaled
from pyro_vae.program.contract import signature
from pyro_vae.testing import check_program

N = 60
CLINICS = ("north", "south", "west")
FRAME = pd.DataFrame(
    {
        "note": [f"person {i}" for i in range(N)],
        "age": RNG.normal(40, 10, N).round(2),
        "income": RNG.normal(3000, 900, N).round(),
        "clinic": np.array(CLINICS)[np.arange(N) % 3],
        "visits": RNG.poisson(3, N),
    }
)
ASKED = {"x": ["age", "income"], "group": "clinic", "y": "visits"}


@pytest.fixture
def path(tmp_path: Path) -> str:
    FRAME.to_csv(tmp_path / "people.csv", index=False)
    return str(tmp_path / "people.csv")


def model(x: Tensor, group: Tensor, y: Tensor) -> None:
    """A Poisson regression with an effect of each clinic."""
    slope = pyro.sample("slope", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    effect = pyro.sample("effect", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    scaled = (x - torch.tensor([40.0, 3000.0])) / torch.tensor([10.0, 900.0])
    with pyro.plate("people", len(x)):
        pyro.sample("visits", dist.Poisson((effect[group] + scaled @ slope).exp()), obs=y)


def guide(x: Tensor, group: Tensor, y: Tensor) -> None:
    for name, size in (("slope", 2), ("effect", 3)):
        loc = pyro.param(f"{name}_loc", torch.zeros(size))
        log_scale = pyro.param(f"{name}_log_scale", torch.full((size,), -2.0))
        pyro.sample(name, dist.Normal(loc, log_scale.exp()).to_event(1))


def given(data: DataSet, program: Any = (model, guide), split: str = "train") -> tuple[Tensor, ...]:
    rows = batches(data.splits[split], columns=signature(program))
    return next(rows.take(torch.arange(rows.num_units), rows.num_units))


def test_each_argument_has_its_columns_and_each_row_its_own(path: str) -> None:
    data = load(path, arguments=ASKED)
    for split in data.splits:
        x, group, y = given(data, split=split)
        assert (x.dtype, group.dtype, y.dtype) == (torch.float32, torch.int64, torch.float32)
        rows = FRAME.iloc[data.splits[split].places.numpy()]
        assert np.array_equal(x.numpy(), rows[["age", "income"]].to_numpy(np.float32))
        assert [CLINICS[k] for k in group] == rows["clinic"].tolist()
        assert np.array_equal(y.numpy(), rows["visits"].to_numpy(np.float32))
    assert (
        "\n  arguments x: age, income; group: clinic (3 categories); y: visits" in data.describe()
    )
    assert data.train.num_levels("group") == 3
    assert data.train.num_levels("y") is None


def test_a_list_of_one_is_a_table_and_a_column_may_be_in_two(path: str) -> None:
    data = load(path, arguments={"x": ["age"], "group": ["clinic"], "y": "age"})
    x, group, y = given(data)
    assert (x.shape, group.shape, y.shape) == ((48, 1), (48, 1), (48,))
    assert torch.equal(x[:, 0], y)


def test_numbers_are_categories_where_a_person_says_so(tmp_path: Path) -> None:
    path = tmp_path / "codes.csv"
    pd.DataFrame({"age": np.arange(30.0), "clinic": [7, 12, 3] * 10, "sex": [0, 1] * 15}).to_csv(
        path, index=False
    )
    kinds = {"clinic": "category", "sex": "category"}
    data = load(str(path), arguments={"x": "clinic", "group": "sex", "y": "age"}, kinds=kinds)
    clinic, sex, age = given(data)
    assert torch.equal(clinic, torch.tensor([1, 2, 0])[age.long() % 3])
    assert torch.equal(sex, age.long() % 2)
    assert [data.train.num_levels(name) for name in ("x", "group")] == [3, 2]
    x, *_ = given(load(str(path), arguments={"x": "sex", "group": "clinic", "y": "age"}))
    assert x.dtype == torch.float32  # zeros and ones are numbers, if nobody says otherwise


def test_numbers_are_standardised_and_categories_are_not(path: str) -> None:
    data = load(path, arguments=ASKED, standardize=True)
    plain = load(path, arguments=ASKED)
    x, group, y = given(data)
    raw_x, raw_group, raw_y = given(plain)
    for scaled, raw in ((x, raw_x), (y, raw_y)):
        exact = (raw - raw.mean(0)) / raw.std(0, correction=0)
        assert torch.allclose(scaled, exact, atol=1e-5)
    assert torch.equal(group, raw_group)
    every = torch.arange(len(data.train))
    for argument, raw in zip(data.train.arguments or (), (raw_x, raw_group, raw_y), strict=True):
        assert torch.equal(data.train.values_of(argument, every).to(raw.dtype), raw)


def test_gaps_are_handed_on_in_numbers_and_refused_in_categories(tmp_path: Path) -> None:
    frame = FRAME.astype({"visits": float})
    frame.loc[3, "visits"] = np.nan
    frame.to_csv(tmp_path / "gap.csv", index=False)
    data = load(str(tmp_path / "gap.csv"), arguments=ASKED, missing=True)
    assert sum(int(given(data, split=split)[2].isnan().sum()) for split in data.splits) == 1
    frame.loc[7, "clinic"] = None
    frame.to_csv(tmp_path / "gap.csv", index=False)
    with refused("clinic", expected="a category") as caught:
        load(str(tmp_path / "gap.csv"), arguments=ASKED, missing=True)
    assert "row 8" in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "more", "subject", "fields"),
    [
        ({"x": "agee"}, {}, "agee", {"remedy": "'age'"}),
        ({"x": ["age", "clinic"]}, {}, "x", {"remedy": "'clinic'"}),
        ({"x": []}, {}, "x", {"expected": "column"}),
        ({}, {}, "arguments", {"remedy": "as x"}),
        ({"x": "age"}, {"label": "clinic"}, "label", {"remedy": "one of the arguments"}),
    ],
)
def test_what_cannot_be_an_argument(
    path: str, asked: Any, more: Any, subject: str, fields: dict[str, str]
) -> None:
    with refused(subject, **fields):
        load(path, arguments=asked, **more)


def test_only_tables_have_arguments(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((20, 3)))
    for name in ("digits", str(tmp_path / "x.npy")):
        with refused("arguments", expected="tables"):
            load(name, arguments={"x": "a"})


@pytest.mark.parametrize(
    ("of_model", "of_guide", "subject", "fields"),
    [
        (lambda x, grp, y: None, None, "group", {"remedy": "'grp'"}),
        (lambda x, group, y, w: None, None, "w", {"remedy": "w=COLUMN"}),
        (lambda x, w=None, group=None, y=None: None, None, "w", {"remedy": "w=COLUMN"}),
        (lambda *args: None, None, "model", {"remedy": "x, group, y"}),
        (model, lambda group, x, y: None, "guide", {"expected": "x, group, y"}),
        (model, lambda x, y: None, "guide", {"expected": "x, group, y"}),
    ],
)
def test_programs_that_do_not_take_these(
    path: str,
    of_model: Callable[..., Any],
    of_guide: Callable[..., Any] | None,
    subject: str,
    fields: dict[str, str],
) -> None:
    program = (of_model, of_guide or of_model)
    with refused(subject, **fields):
        given(load(path, arguments=ASKED), program)


class Module(nn.Module):
    def forward(self, y: Tensor, group: Tensor, x: Tensor, more: None = None) -> None: ...


@pytest.mark.parametrize("of_guide", [model, lambda *args: None, lambda a, b, c: None, Module()])
def test_the_model_says_the_order(path: str, of_guide: Callable[..., Any]) -> None:
    """Also a module that is called; a guide may have any names but those of other arguments."""
    data = load(path, arguments=ASKED)
    if isinstance(of_guide, Module):
        y, group, x = given(data, (of_guide, lambda *args: None))
    else:
        x, group, y = given(data, (model, of_guide))
    assert (x.shape, group.dtype, y.shape) == ((48, 2), torch.int64, (48,))


def test_a_fit_is_that_of_the_tensors_bit_for_bit(path: str) -> None:
    data = load(path, arguments=ASKED)
    tensors = given(data), given(data, split="validation")
    found = []
    for train, validation in (tensors, (data.train, data.validation)):
        pyro.clear_param_store()
        result = fit(
            (model, guide), train, validation=validation, epochs=20, seed=3, device="cpu",
            progress=False, optimizer=partial(torch.optim.Adam, lr=0.05), keep_best=False,
        )  # fmt: skip
        stored = {n: p.detach().clone() for n, p in pyro.get_param_store().named_parameters()}
        found.append((result.metrics, stored))
    assert found[0][0] == found[1][0]
    assert (
        found[0][1].keys()
        == found[1][1].keys()
        == {f"{site}_{part}" for site in ("slope", "effect") for part in ("loc", "log_scale")}
    )
    assert all(torch.equal(value, found[1][1][name]) for name, value in found[0][1].items())
    assert found[0][0][-1]["train_elbo"] > found[0][0][0]["train_elbo"]


def test_the_contract_is_tried_on_the_arguments(path: str) -> None:
    report = check_program((model, guide), load(path, arguments=ASKED).train)
    assert next(o.reason for o in report.outcomes if o.check == "plates").startswith("one joint")


def test_a_fingerprint_knows_what_is_given_to_what(path: str) -> None:
    names = (
        {"x": "age", "y": "visits"},
        {"y": "age", "x": "visits"},
        {"x": ["age"], "y": "visits"},
    )
    prints = {load(path, arguments=asked).train.fingerprint for asked in names}
    assert len(prints) == 3


def test_what_is_remembered_of_them(path: str) -> None:
    data = load(path, arguments=ASKED, standardize=True)
    again = blank_data_set("people", metadata_of(data))
    assert again.train.arguments == data.train.arguments
    x, group, y = given(again)
    assert (x.shape, group.shape, y.shape) == ((1, 2), (1,), (1,))
    assert group.dtype == torch.int64
    assert again.train.num_levels("group") == 3


class Regression(nn.Module):
    """Two costs, by age and clinic."""

    def __init__(self) -> None:
        super().__init__()
        self.likelihood = HeteroscedasticNormal(3, (2,))
        self.encoder = Scaled((1,), (3,))

    def model(self, group: Tensor, x: Tensor, y: Tensor) -> None:
        with pyro.plate("people", len(x)):
            pyro.sample("y", self.likelihood(self.encoder(x)), obs=y)

    def guide(self, group: Tensor, x: Tensor, y: Tensor) -> None: ...


def test_each_part_learns_the_units_of_the_argument_of_its_shape(path: str) -> None:
    asked = {"group": "clinic", "x": ["age"], "y": ["income", "visits"]}
    data, program = load(path, arguments=asked), Regression()
    fit(program, replace(data, validation=None), epochs=1, progress=False)
    _, x, y = given(data, program)
    for units, learnt in ((program.encoder.scaling, x), (program.likelihood.scaling, y)):
        assert torch.allclose(units.location, learnt.mean(0))
        assert torch.allclose(units.scale, learnt.std(0, correction=0))
