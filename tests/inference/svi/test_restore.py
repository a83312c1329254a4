"""A program that was built in Python again gets the weights of its run."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoMultivariateNormal
from refused import refused
from torch import nn

from pyro_vae import fit, log_evidence, restore
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.models import VAE, FactorAnalysis
from pyro_vae.program.contract import as_program

X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
QUICK = {"epochs": 3, "progress": False}


def evidence_of(program) -> torch.Tensor:
    return log_evidence(program, X, num_particles=50, seed=0).log_evidence


def stored_model(x):
    scale = pyro.param("scale", torch.tensor(2.0), constraint=dist.constraints.positive)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, scale), obs=x[:, 0])


def stored_guide(x):
    slope = pyro.param("slope", torch.tensor(0.1))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(slope * x[:, 0], 1.0))


def shared(x):
    w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(x[:, :2] @ w, 1.0), obs=x[:, 2])


class Slope(nn.Module):
    """A model with a parameter, and no guide."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.0))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(self.slope + z, 0.5), obs=x[:, 0])


PROGRAMS = {
    "modules": (lambda: FactorAnalysis((3,), 1), False),
    "the param store": (lambda: (stored_model, stored_guide), True),
    "an autoguide": (lambda: (shared, AutoMultivariateNormal(shared)), True),
    "a made guide, of a function": (lambda: shared, True),
    "a made guide, of a module": (Slope, True),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_restored_program_gives_the_same_evidence(name, tmp_path) -> None:
    make, needs_data = PROGRAMS[name]
    pyro.clear_param_store()
    expected = evidence_of(fit(make(), X, out=tmp_path, **QUICK).program)
    pyro.clear_param_store()  # as in a new process
    if needs_data:
        with refused("data", remedy="restore(program, path, data)"):
            restore(make(), tmp_path)
    again = restore(make(), tmp_path, X if needs_data else None)
    assert torch.equal(evidence_of(again), expected)


def test_the_call_of_a_program_without_rows(tmp_path) -> None:
    pyro.clear_param_store()
    fit((stored_model, stored_guide), args=(X,), out=tmp_path, **QUICK)
    scale = pyro.param("scale").item()
    pyro.clear_param_store()
    restore((stored_model, stored_guide), tmp_path, args=(X,))
    assert pyro.param("scale").item() == scale != 2.0


def test_the_best_epoch_is_restored(tmp_path) -> None:
    """As a fit ends with it."""
    settings = {"validation": X[:10], "optimizer": lambda p: torch.optim.SGD(p, lr=0.5)}
    result = fit(FactorAnalysis((3,), 1), X, out=tmp_path, **QUICK, **settings)
    assert result.best_epoch is not None
    again = restore(FactorAnalysis((3,), 1), tmp_path)
    assert torch.equal(evidence_of(again), evidence_of(result.program))


def test_a_pair_is_resumed_as_it_was_begun(tmp_path) -> None:
    """The result's program, a pair where the guide was made, goes on with the run of the model."""
    program = fit(shared, X, out=tmp_path, **QUICK).program
    assert len(fit(program, X, out=tmp_path, resume=True, epochs=4, progress=False).metrics) == 4


class TestRefusals:
    @pytest.fixture
    def run(self, tmp_path):
        fit(FactorAnalysis((3,), 1), X, out=tmp_path / "runs/factors", **QUICK)
        return tmp_path / "runs/factors"

    def test_no_run(self, run) -> None:
        near = run.with_name("factor")
        with refused(str(near), remedy="did you mean 'factors'?"):
            restore(FactorAnalysis((3,), 1), near)
        with refused("path"):
            restore(FactorAnalysis((3,), 1), 3)

    def test_other_shapes_change_nothing(self, run) -> None:
        program = FactorAnalysis((3,), 2)
        before = {n: v.clone() for n, v in program.state_dict().items()}
        with refused("loadings", remedy="with the options of its fit") as caught:
            restore(program, run)
        assert "shape (3, 1) there and shape (3, 2) here" in str(caught.value)
        assert all(torch.equal(v, before[n]) for n, v in program.state_dict().items())

    def test_another_class(self, run) -> None:
        with refused(str(run / "checkpoint.safetensors"), remedy="pass a FactorAnalysis") as caught:
            restore(VAE((3,), 1), run)
        assert "is of a FactorAnalysis, and the program is a VAE" in str(caught.value)

    def test_functions_of_other_parameters_leave_the_store_as_it_was(self, tmp_path) -> None:
        pyro.clear_param_store()
        fit((stored_model, stored_guide), X, out=tmp_path, **QUICK)
        pyro.clear_param_store()
        with refused("model.slope"):
            restore((Slope().model, stored_guide), tmp_path, X)
        assert not list(pyro.get_param_store())

    def test_a_run_without_a_step(self, tmp_path) -> None:
        control = RunControl(stop_after=0)
        fit(FactorAnalysis((3,), 1), X, out=tmp_path, control=control, **QUICK)
        with refused(str(tmp_path), remedy="resume=True"):
            restore(FactorAnalysis((3,), 1), tmp_path)

    def test_what_is_no_program(self, run) -> None:
        with refused("data"):
            restore(shared, run)
        with refused("program"):
            as_program(3)


def test_nothing_but_weights_changes(tmp_path) -> None:
    fit(FactorAnalysis((3,), 1), X, out=tmp_path, **QUICK)
    program, state = FactorAnalysis((3,), 1).train(), torch.get_rng_state()
    restore(program, tmp_path, X)
    assert torch.equal(torch.get_rng_state(), state)
    assert program.training
