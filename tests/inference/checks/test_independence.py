"""Units that hang together, and rows that hang on their place: their figures are joint, or of one piece."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from oracles import agrees
from refused import refused
from stories import Conjugate
from torch import Tensor

from pyro_vae import log_evidence
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.tiles import open_tiles
from pyro_vae.program.contract import as_program

N = 12
Y = torch.randn(N, generator=torch.Generator().manual_seed(1))
EYE = torch.eye(N)
ROOT = torch.linalg.cholesky(
    (-0.5 * (torch.linspace(0, 3, N)[:, None] - torch.linspace(0, 3, N)).square()).exp()
    + 0.01 * EYE
)
RING = EYE - EYE.roll(1, 0)

Story = tuple[Callable[[Tensor], Tensor], Tensor]
LINEAR: dict[
    str, Story
] = {  # what the latents are turned into within the plate, and the matrix of it
    "a walk": (lambda e: e.cumsum(-1), torch.tril(torch.ones(N, N))),
    "sum to zero": (lambda e: e - e.mean(-1, keepdim=True), EYE - 1 / N),
    "a Gaussian process": (lambda e: e @ ROOT.T, ROOT),
    "neighbours": (lambda e: e - e.roll(1, -1), RING),
    "a pair": (lambda e: torch.cat([e[..., :-1], e[..., -1:] + e[..., 2:3]], -1), None),
}


def linear(turn: Callable[[Tensor], Tensor]) -> tuple[Any, Any]:
    def model(y: Tensor) -> None:
        with pyro.plate("time", len(y)):
            e = pyro.sample("e", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(turn(e), 1.0), obs=y)

    def guide(y: Tensor) -> None:
        with pyro.plate("time", len(y)):
            pyro.sample("e", dist.Normal(torch.zeros(len(y)), 1.0))

    return model, guide


@pytest.mark.parametrize("story", LINEAR)
def test_units_whose_latents_are_mixed_have_one_joint_figure(story: str) -> None:
    turn, matrix = LINEAR[story]
    matrix = turn(EYE).T if matrix is None else matrix
    normal = dist.MultivariateNormal(torch.zeros(N), matrix @ matrix.T + EYE)
    exact = normal.log_prob(Y).item()
    given: list[dict[str, Any]] = [{"args": (Y,)}]
    if story != "a pair":  # of the last and the third: a part of the data would have another one
        given.append({"data": Y})
    for data in given:
        found = log_evidence(linear(turn), **data, method="exact")
        assert found.unit is None
        assert found.total == pytest.approx(exact, abs=1e-3)
        said = "the density of a unit of plate 'time' depends on the latents of other units"
        assert said in " ".join(found.notes)
        method = Annealed(20, num_leapfrog=4)
        annealed = partial(log_evidence, linear(turn), **data, method=method, seed=0)
        assert agrees(lambda count: annealed(num_particles=count), 64, torch.tensor(exact), 1e-3)


def test_counts_that_share_a_total_and_discrete_latents_along_a_plate() -> None:
    x = torch.tensor([1.0, 1.0, 3.0])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.4), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(z.cumsum(-1), 1.0), obs=x)

    with refused("data", remedy="one joint figure"):
        log_evidence((model, lambda x: None), x, unit="data")

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(torch.full((len(x),), 0.6)))

    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    each = dist.Bernoulli(0.4).log_prob(every) + dist.Normal(every.cumsum(-1), 1.0).log_prob(x)
    found = log_evidence((model, guide), x, num_particles=20_000, seed=0)
    off = found.total - each.sum(-1).logsumexp(0).item()
    assert found.unit is None
    assert abs(off) < 4 * found.mean_standard_error


def test_a_factor_between_neighbours() -> None:
    def model(y: Tensor) -> None:
        with pyro.plate("d", len(y)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.factor("car", -0.5 * (z - z.roll(1, -1)).square())
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(y: Tensor) -> None:
        with pyro.plate("d", len(y)):
            pyro.sample("z", dist.Normal(y / 2, 0.8))

    precision = EYE + RING.T @ RING
    normal = dist.MultivariateNormal(torch.zeros(N), torch.linalg.inv(precision) + EYE)
    exact = normal.log_prob(Y) - torch.logdet(precision) / 2
    found = log_evidence((model, guide), Y, method="exact")
    assert found.total == pytest.approx(exact.item(), abs=1e-3)


def test_a_guide_that_mixes_units() -> None:
    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            u = pyro.sample(
                "u", dist.Normal(0.0, 1.0).expand([len(x)]), infer={"is_auxiliary": True}
            )
            # a shear: its Jacobian is 1
            z = torch.cat([u[..., :1], u[..., 1:] + 0.5 * u[..., :-1]], -1)
            pyro.sample("z", dist.Delta(z + x / 2))

    found = log_evidence((Conjugate.model, guide), Y, num_particles=50_000, seed=0)
    assert found.unit is None
    assert "depends on the latents of other units, in model or guide" in found.notes[0]
    exact = Conjugate.log_evidence(Y).sum().item()
    assert abs(found.total - exact) < 4 * found.mean_standard_error
    with refused("data", remedy="leave `unit` out for one joint figure"):
        log_evidence((Conjugate.model, guide), Y, unit="data")


MANY = torch.randn(200, generator=torch.Generator().manual_seed(2))
TREATED = (torch.arange(200) >= 100) * 3.0  # the first tile knows only one of its values


@pytest.mark.parametrize("by_index", [True, False])
def test_what_is_indexed_by_place_is_taken_in_one_piece(by_index: bool) -> None:
    def model(y: Tensor) -> None:
        with pyro.plate("data", len(y)) as i:
            z = pyro.sample("z", dist.Normal(0.0, 2.0))
            own = TREATED[i] if by_index else TREATED[: len(y)]
            pyro.sample("y", dist.Normal(z + own, 2.0), obs=y)

    def guide(y: Tensor) -> None:
        with pyro.plate("data", len(y)):
            pyro.sample("z", dist.Normal(torch.zeros(len(y)), 2.0))

    exact = dist.Normal(TREATED, 8**0.5).log_prob(MANY)
    for method in ("exact", "auto"):
        found = log_evidence((model, guide), MANY, method=method, seed=0)
        assert found.unit == "data"
        off = (found.log_evidence - exact).abs()
        assert (off < 5 * found.standard_error + 1e-4).all()
        assert "taken in one piece" in found.notes[0]


def test_a_guide_with_a_parameter_for_each_place() -> None:
    locs = MANY / 2

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)) as i:
            pyro.sample("z", dist.Normal(locs[i], 0.8))

    found = log_evidence((Conjugate.model, guide), MANY, seed=0)
    assert "taken in one piece" in found.notes[0]
    assert found.bad_units == 0
    off = (found.log_evidence - Conjugate.log_evidence(MANY)) / found.standard_error
    assert off.abs().max() < 4.5  # of 200


def test_noise_and_sums_over_particles_are_not_taken_for_it(small_blocks) -> None:
    def noisy(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2 + 0.1 * torch.randn(len(x)), 0.8))

    for guide in (noisy, Conjugate.guide):
        with open_tiles(as_program((Conjugate.model, guide)), MANY) as tiles:
            assert len(tiles) == 4
            assert tiles.example.structure.unit == "data"
            assert tiles.notes == ()


def test_a_guide_that_draws_one_value_for_all() -> None:
    def guide(x: Tensor) -> None:
        pyro.sample("z", dist.Normal(0.0, 0.8))

    with refused("z", expected="shape (12,)", remedy="plate 'data'") as error:
        log_evidence((Conjugate.model, guide), Y)
    assert "1 of the 12" in str(error.value)


def test_plates_of_other_names() -> None:
    def guide(x: Tensor) -> None:
        with pyro.plate("other", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.8))

    found = log_evidence((Conjugate.model, guide), Y, seed=0)
    assert "no plate holds every site (there are 'data', 'other')" in found.notes[0]
