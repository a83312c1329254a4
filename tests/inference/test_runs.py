"""How often a program is run before the work itself begins."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch import Tensor, nn

from pyro_vae import fit, log_evidence
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.inference.objectives import IWAE, TCVAE
from pyro_vae.inference.svi.run_control import RunControl

X = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))


class Begun(Exception):
    pass


@contextmanager
def ended_by(owner: type, method: str) -> Iterator[None]:
    """Ends whatever is done where the work begins."""

    def begin(*_: Any, **__: Any) -> None:
        raise Begun

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Begun):
        patch.setattr(owner, method, begin)
        yield


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder, self.runs = nn.Linear(4, 2), nn.Linear(2, 4), 0

    def model(self, x: Tensor) -> None:
        self.runs += 1
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.8).to_event(1))


class Shared(Counted):
    def model(self, x: Tensor) -> None:
        self.runs += 1
        w = pyro.sample("w", dist.Normal(torch.zeros(4), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal((x * w).sum(-1), 1.0), obs=x[:, 0])


def runs_of(program: Counted, work: Callable[[], Any]) -> int:
    """The runs of the model; the guide is run as often, or less."""
    count = itertools.count()  # attributes and containers are restored after each run
    model = type(program).model

    def counted(self: Any, x: Tensor) -> None:
        next(count)
        model(self, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(program), "model", counted)
        work()
    return next(count)


def runs_of_an_evidence(program: Counted, pair: Any, x: Tensor) -> int:
    """The runs before the first weights are added up."""

    def work() -> None:
        with ended_by(WeightSums, "add"):
            log_evidence(pair, x, seed=0)

    return runs_of(program, work)


@pytest.mark.parametrize("x", [X[:5], X])
def test_an_evidence_begins_after_15_runs(x: Tensor) -> None:
    program = Counted()
    assert 1 <= runs_of_an_evidence(program, program, x) <= 15


def test_an_evidence_of_what_all_rows_share_begins_after_15_runs() -> None:
    program = Shared()
    pair = program.model, AutoNormal(program.model)
    assert runs_of_an_evidence(program, pair, X) <= 15


@pytest.mark.parametrize("elbo", [None, IWAE(5), TCVAE(2.0)])
def test_a_fit_begins_after_8_runs(elbo: Any) -> None:
    program = Counted()

    def work() -> None:
        not_a_step = RunControl(stop_after=0)
        fit(program, X, elbo=elbo, compile="off", progress=False, device="cpu", control=not_a_step)

    assert 1 <= runs_of(program, work) <= 8
