"""An evaluation leaves no trace, also when it fails."""

import random
from collections import deque

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from stories import PyroStyleVAE
from torch import Tensor, nn

from pyro_vae.program.contract import Program, as_program
from pyro_vae.program.generators import generators_as_found
from pyro_vae.program.isolation import as_found, seed_all, tensors_as_found, undisturbed
from pyro_vae.program.param_store import own_parameters
from pyro_vae.program.parameters import stored_parameters

NET = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 6))


def closed_over(x: Tensor) -> None:
    """A plain function over a network that nobody registers."""
    pyro.param("offset", torch.zeros(6))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(NET(x), 1.0).to_event(1), obs=x)


def everything() -> list[Tensor]:
    return [
        torch.get_rng_state(),
        torch.from_numpy(np.random.get_state()[1].astype("int64")),  # noqa: NPY002
        torch.tensor(random.getstate()[1]),
        NET[0].running_mean.clone(),
        NET[0].num_batches_tracked.clone(),
        torch.tensor([m.training for m in NET.modules()]),
        torch.tensor(list(pyro.settings.get().values())),
        torch.tensor(len(pyro.get_param_store())),
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_behind(fails: bool) -> None:
    before = everything()
    outputs = []
    try:
        with undisturbed(Program(closed_over, lambda x: None), seed=1):
            outputs = [NET(torch.ones(3, 6)), NET(torch.ones(3, 6))]
            closed_over(torch.ones(3, 6))
            torch.randn(3), np.random.rand(), random.random()  # noqa: NPY002
            pyro.enable_validation(False)
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert torch.equal(outputs[0], outputs[1])  # no dropout: eval mode
    for was, now in zip(before, everything(), strict=True):
        assert torch.equal(was, now)


def test_seeds_mean_the_same_draws() -> None:
    program = Program(closed_over, closed_over)
    draws = []
    for _ in range(2):
        torch.randn(1)
        with undisturbed(program, seed=3):
            draws.append(torch.randn(2))
    assert torch.equal(*draws)


def test_another_models_parameters_in_the_store_are_not_taken_for_ones_own() -> None:
    x = torch.ones(2, 6)
    first, second = PyroStyleVAE(), PyroStyleVAE()
    first.guide(x)
    second.guide(x)
    store = pyro.get_param_store()
    assert store._params["encoder$$$weight"] is first.encoder.weight  # plain Pyro, and silently so
    with own_parameters(as_program(second)):
        second.guide(x)
    assert store._params["encoder$$$weight"] is second.encoder.weight
    assert stored_parameters(as_program(second), x) == {}


def test_another_models_parameter_may_have_two_names() -> None:
    other = nn.Linear(6, 6)
    pyro.module("one", other)
    pyro.module("two", other)
    mine, x = PyroStyleVAE(), torch.ones(2, 6)
    with own_parameters(as_program(mine)):
        assert len(pyro.get_param_store()) == 0
        mine.guide(x)
    assert {"one$$$weight", "two$$$weight", "encoder$$$weight"} <= pyro.get_param_store().keys()


def test_seeds_are_pyros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "manual_seed", torch.default_generator.manual_seed)  # no `--seed`
    draws = []
    for seeded in (seed_all, pyro.set_rng_seed):
        seeded(7)
        draws.append((random.random(), np.random.rand(), torch.rand(3).tolist()))  # noqa: NPY002
    assert draws[0] == draws[1]


class Slotted:
    __slots__ = ("__hidden", "late", "seen")

    def __init__(self) -> None:
        self.seen, self.__hidden = [], 0

    def note(self, value: object) -> None:
        self.seen.append(value)
        self.__hidden += 1
        self.late = self.seen

    def state(self) -> tuple[object, ...]:
        return (list(self.seen), self.__hidden, hasattr(self, "late"))


class Keeper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slotted, self.calls = Slotted(), {"model": {"counts": [0]}}
        self.draws, self.recent = np.random.default_rng(0), deque([1], maxlen=3)

    def model(self, x: Tensor) -> None:
        NOTES.append({"x": len(NOTES)})
        NOTES[0].setdefault("nested", []).append(x)
        self.slotted.note(x)
        self.calls["model"]["counts"][0] += 1
        self.recent.append(self.draws.normal())
        self.new = x


NOTES: list[dict[str, object]] = [{}]


def test_objects_that_a_program_reaches_are_as_found() -> None:
    keeper = Keeper()

    def state() -> object:
        draws = keeper.draws.bit_generator.state
        seen = (keeper.slotted.state(), repr(keeper.calls), list(keeper.recent), draws)
        return (*seen, hasattr(keeper, "new"), repr(NOTES))

    before, notes, counts = state(), NOTES[0], keeper.calls["model"]["counts"]
    with as_found({}, keeper.model) as found:
        for _ in range(2):
            keeper.model(torch.ones(1))
            assert state() != before
            found.restore()
            draws = keeper.draws.bit_generator.state
            assert state() == (*before[:3], draws, *before[4:])  # noise goes on
        keeper.model(torch.ones(1))
        keeper.train(False)
    assert state() == before
    assert not keeper.training  # `undisturbed` restores this
    assert NOTES[0] is notes
    assert keeper.calls["model"]["counts"] is counts


def test_tensors_are_as_found_however_they_are_written_to() -> None:
    weight, plain = nn.Parameter(torch.ones(2)), torch.ones(2)
    weight.grad = gradient = torch.full((2,), 3.0)
    with pytest.raises(ZeroDivisionError), tensors_as_found([weight, plain, weight]):
        plain.add_(1)
        weight.data.add_(1)  # its version stays
        weight.grad.add_(1)
        weight.grad = None
        weight.requires_grad_(False)
        raise ZeroDivisionError
    assert plain.tolist() == [1, 1]
    assert weight.tolist() == [1, 1]
    assert weight.requires_grad
    assert weight.grad is gradient
    assert gradient.tolist() == [3, 3]


def test_generators_of_all_kinds_and_devices_are_restored(monkeypatch) -> None:
    """Also those of GPUs, of which a CPU can say only who is asked."""
    states = [torch.zeros(2), torch.ones(2)]
    for name in ("is_available", "is_initialized"):
        monkeypatch.setattr(torch.cuda, name, lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [s.clone() for s in states])
    monkeypatch.setattr(
        torch.cuda, "set_rng_state_all", lambda new: states.__setitem__(slice(2), new)
    )
    before = everything()
    with pytest.raises(KeyError), generators_as_found():
        torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
        states[1] += 5
        raise KeyError
    assert all(torch.equal(a, b) for a, b in zip(before, everything(), strict=True))
    assert [s.tolist() for s in states] == [[0.0, 0.0], [1.0, 1.0]]
