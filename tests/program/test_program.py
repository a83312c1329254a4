"""The contract: what is a program, where its units are, and the traps that it must name."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from pyro.nn import PyroModule, PyroParam
from refused import refused
from stories import Conjugate, GlobalMean, PyroStyleVAE
from torch import Tensor, nn

from pyro_vae import prior_samples
from pyro_vae.models import VAE
from pyro_vae.program.contract import as_program, num_arguments
from pyro_vae.program.examination import examine
from pyro_vae.program.parameters import named_parameters, stored_parameters

X = torch.arange(12.0).reshape(2, 6) / 12


def test_what_is_a_program() -> None:
    vae = PyroStyleVAE()
    assert as_program(vae).modules == {"": vae}
    assert as_program((vae.model, vae.guide)).modules == {"": vae}
    guide = AutoNormal(vae.model)
    assert as_program((vae.model, guide)).modules == {"model.": vae, "guide.": guide}
    assert as_program(Conjugate).modules == {}
    with refused("program", expected="`.model` and `.guide`"):
        as_program(3)


def test_the_unit_is_the_outermost_plate_that_all_sites_share() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("rows", 3, dim=-2), pyro.plate("columns", 4, dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("rows", 3, dim=-2), pyro.plate("columns", 4, dim=-1):
            pyro.sample("z", dist.Normal(x, 1.0))

    program, x = as_program((model, guide)), torch.zeros(3, 4)
    structure = examine(program, x).structure
    assert (structure.unit, structure.dim, structure.num_units, structure.max_plate_nesting) == (
        "rows",
        -2,
        3,
        2,
    )
    assert structure.plates == {"rows": 3, "columns": 4}
    assert examine(program, x, unit="columns").structure.num_units == 4
    with refused("colums") as error:
        examine(program, x, unit="colums")
    assert "Did you mean 'columns'" in str(error.value)


def test_a_loop_is_no_unit() -> None:
    def model(x: Tensor) -> None:
        for i in pyro.plate("row", len(x)):
            z = pyro.sample(f"z{i}", dist.Normal(0.0, 1.0))
            pyro.sample(f"x{i}", dist.Normal(z, 1.0), obs=x[i])

    def guide(x: Tensor) -> None:
        for i in pyro.plate("row", len(x)):
            pyro.sample(f"z{i}", dist.Normal(x[i], 1.0))

    program, x = as_program((model, guide)), torch.zeros(3)
    with refused("row", expected="a vectorized plate", remedy="with pyro.plate('row'"):
        examine(program, x, unit="row")
    with refused("data") as error:
        examine(program, x, unit="data")
    assert "no plate" in error.value.problem


def test_a_latent_outside_every_shared_plate_makes_the_evidence_joint() -> None:
    structure = examine(as_program(GlobalMean), torch.zeros(4)).structure
    assert structure.unit is None
    assert structure.outside == ("mean",)
    with refused("data", remedy="leave `unit` out") as error:
        examine(as_program(GlobalMean), torch.zeros(4), unit="data")
    assert "'mean'" in str(error.value)


def test_a_subsampled_plate_stands_for_all_its_units() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", 100, subsample_size=len(x)):
            pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", 100, subsample_size=len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))

    structure = examine(as_program((model, guide)), torch.zeros(5)).structure
    assert (structure.num_units, structure.size) == (5, 100)
    assert structure.units_of(3) == 100
    assert structure.resized(3).num_units == 3


@pytest.mark.parametrize(
    ("model", "guide", "subject", "words"),
    [
        (
            lambda x: None,
            lambda x: pyro.sample("z", dist.Normal(0.0, 1.0)),
            "z",
            ["guide samples", "model"],
        ),
        (
            lambda x: pyro.sample("z", dist.Normal(0.0, 1.0)),
            lambda x: None,
            "z",
            ["model samples", "pyro.sample('z'", "parallel"],
        ),
        (
            lambda x: pyro.sample("z", dist.Bernoulli(0.5), infer={"enumerate": "sequential"}),
            lambda x: None,
            "z",
            ["enumerate='sequential'", '{"enumerate": "parallel"}'],
        ),
        (
            lambda x: x @ x,
            lambda x: None,
            "model",
            ["RuntimeError before its first site", "(2, 6)"],
        ),
        (
            lambda x: (pyro.sample("z", dist.Normal(0.0, 1.0)), x.no_such_thing),
            lambda x: pyro.sample("z", dist.Normal(0.0, 1.0)),
            "z",
            ["model raised AttributeError after site 'z'"],
        ),
        (
            lambda x: pyro.sample("x", dist.Bernoulli(0.5), obs=x),
            lambda x: None,
            "x",
            ["--binarize", "ContinuousBernoulli or Normal"],
        ),
        (
            lambda x: pyro.sample("x", dist.Poisson(1.0), obs=-x - 1),
            lambda x: None,
            "x",
            ["Poisson", "--standardize"],
        ),
        (
            lambda x: pyro.sample("x", dist.Normal((-1 - x).log(), 1.0), obs=x),
            lambda x: None,
            "model",
            ["ValueError before its first site"],
        ),
    ],
)
def test_what_does_not_fit_is_named(model, guide, subject, words) -> None:
    def shaped(x):
        with pyro.plate("a", 2, dim=-2), pyro.plate("b", 6, dim=-1):
            model(x)

    with refused(subject) as error:
        examine(as_program((shaped, guide)), X)
    assert all(word in str(error.value) for word in words), error.value


def homogeneous(x: Tensor) -> None:
    """A hidden Markov model whose one step stands for all, which Pyro means it to."""
    start, step = dist.Normal(torch.zeros(2), 1.0).to_event(1), dist.Normal(torch.zeros(1), 1.0)
    hmm = dist.GaussianHMM(
        start, torch.eye(2), step.expand([2]).to_event(1), torch.ones(2, 1), step.to_event(1)
    )
    with pyro.plate("data", len(x)):
        pyro.sample("x", hmm, obs=x.unsqueeze(-1))


def repeated(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(torch.zeros(1), 1.0).to_event(1), obs=x)


def test_an_event_is_as_long_as_what_is_observed() -> None:
    assert examine(as_program((homogeneous, lambda x: None)), X).structure.num_units == 2
    with refused("x", expected="(2, 1)"):
        examine(as_program((repeated, lambda x: None)), X)


def test_parameters_of_modules_and_of_the_store() -> None:
    conjugate = as_program(Conjugate)
    assert named_parameters(conjugate) == {}
    stored = stored_parameters(conjugate, torch.zeros(3))
    assert set(stored) == {"slope", "scale"}
    assert stored["scale"].item() == pytest.approx(math.log(0.9))  # unconstrained

    pyro_style = as_program(PyroStyleVAE())
    assert set(named_parameters(pyro_style)) == {
        f"{net}.{kind}" for net in ("encoder", "decoder") for kind in ("weight", "bias")
    }
    assert stored_parameters(pyro_style, X) == {}  # pyro.module registers what the module holds


def test_pyro_modules_are_programs() -> None:
    class Story(PyroModule):
        def __init__(self) -> None:
            super().__init__()
            self.scale = PyroParam(torch.tensor(2.0), dist.constraints.positive)
            self.net = nn.Linear(6, 6)  # a plain child

        def model(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(6), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(z, self.scale).to_event(1), obs=x)

        def guide(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(self.net(x), 1.0).to_event(1))

    story = as_program(Story())
    assert set(named_parameters(story)) == {"scale_unconstrained", "net.weight", "net.bias"}
    assert examine(story, X).structure.unit == "data"
    assert stored_parameters(story, X) == {}


def test_num_arguments() -> None:
    assert num_arguments(VAE.model) == 2
    assert num_arguments(VAE((3,)).model) == 1
    assert num_arguments(lambda *data: None) is None


def test_draws_of_the_prior_compute_deterministic_sites_as_the_model_does() -> None:
    """Pyro's ``uncondition`` draws them anew, with the plate's dimension once more."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            double = pyro.deterministic("double", 2 * z)
            assert double.shape == (len(x),)
            pyro.sample("x", dist.Normal(double, 0.1), obs=x)

    drawn = prior_samples((model, lambda x: None), torch.zeros(4), num_draws=9, seed=0)
    assert drawn.predictive["x"].shape == drawn.draws["double"].shape == (9, 4)
    assert torch.equal(drawn.draws["double"], 2 * drawn.draws["z"])
