"""NumPy arrays and tables as data."""

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from torch import Tensor

from pyro_vae import fit, log_evidence
from pyro_vae.data import batches
from pyro_vae.program.contract import signature

TABLE = pd.DataFrame({"dose": [0.5, 1.5, -1.0], "visits": [1, 0, 3], "sex": ["m", "f", "f"]})


def visits_model(dose: Tensor, visits: Tensor, weight: Tensor | None = None) -> None:
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(dose)):
        pyro.sample("visits", dist.Poisson((slope * dose).exp()), obs=visits)


def one_argument(x: Tensor) -> None:
    with pyro.plate("rows", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).expand([2]).to_event(1), obs=x)


def taken(data, model) -> tuple[Tensor, ...]:
    rows = batches(data, columns=signature((model, lambda *args: None)))
    return next(rows.take(torch.arange(rows.num_units), rows.num_units))


def test_arrays_are_tensors_of_the_default_dtype() -> None:
    x, y = taken((np.arange(4.0), np.arange(4)), visits_model)
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    (x,) = taken(np.ones((3, 2)), one_argument)
    assert x.dtype == torch.float32
    x, y = taken((torch.ones(3, dtype=torch.float64), np.zeros(3)), visits_model)
    assert x.dtype == torch.float64  # a tensor is what its owner made it


def test_columns_go_to_the_arguments_of_their_names() -> None:
    dose, visits = taken(TABLE[["visits", "sex", "dose"]], visits_model)
    assert dose.tolist() == [0.5, 1.5, -1.0]
    assert visits.tolist() == [1, 0, 3]
    *_, weight = taken(TABLE.assign(weight=2.0), visits_model)
    assert weight.tolist() == [2.0] * 3


def test_one_argument_of_another_name_takes_all_columns() -> None:
    (x,) = taken(TABLE[["dose", "visits"]], one_argument)
    assert x.tolist() == [[0.5, 1.0], [1.5, 0.0], [-1.0, 3.0]]


def test_a_table_is_fitted_and_weighed() -> None:
    result = fit(visits_model, TABLE, epochs=3, progress=False, compile="off")
    args = (torch.tensor([0.5, 1.5, -1.0]), torch.tensor([1, 0, 3]))
    one = log_evidence(result.program, TABLE, num_particles=10, seed=0)
    other = log_evidence(result.program, args, num_particles=10, seed=0)
    assert torch.equal(one.log_evidence, other.log_evidence)


@pytest.mark.parametrize(
    ("data", "model", "subject", "words"),
    [
        (
            TABLE.rename(columns={"dose": "doze"}),
            visits_model,
            "dose",
            {"remedy": "doze"},
        ),
        (TABLE, one_argument, "data", {"remedy": "cat.codes"}),
        (np.array(["a", "b"]), one_argument, "data", {"expected": "numbers"}),
    ],
)
def test_what_is_no_table_of_numbers(data, model, subject, words) -> None:
    with refused(subject, **words):
        taken(data, model)
