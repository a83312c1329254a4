"""A further method takes two places: its class, and the table. What methods give, and what they leave."""

import itertools
from queue import SimpleQueue

import pyro
import pytest
import torch
from refused import refused
from stories import Conjugate
from torch.nn import functional
from toy_method import Moved

from pyro_vae import log_evidence
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.methods import METHODS
from pyro_vae.inference.evidence.unit_estimates import UnitEstimates, concatenate, from_tensors
from pyro_vae.program.generators import rng_state

X = torch.randn(100, generator=torch.Generator().manual_seed(1))


def test_a_method_by_its_class_and_an_entry_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "moved", Moved)
    weighed = log_evidence(Conjugate, X, num_particles=50, seed=0)
    by_name = log_evidence(Conjugate, X, method="moved", seed=0)
    torch.testing.assert_close(by_name.log_evidence, weighed.log_evidence + 1)
    assert by_name.num_particles == 50
    moved = Moved(Importance(0.2), shift=3.0)
    weighed = log_evidence(
        Conjugate, X, method=Importance(0.2), num_particles=50, seed=0, max_memory=10**6
    )
    by_class = log_evidence(Conjugate, X, method=moved, seed=0)
    torch.testing.assert_close(by_class.log_evidence, weighed.log_evidence + 3)
    assert "moved by 3 nats" in by_class.summary()


# --- the estimates of units -------------------------------------------------------------------


def estimates(units: int, **further: object) -> UnitEstimates:
    values = torch.arange(4.0 * units).reshape(4, units)
    return UnitEstimates(*values, **further)  # type: ignore[arg-type]


EVERY = {
    "smoothed": torch.zeros(3),
    "jackknife": torch.ones(3),
    "bounds": {1: torch.zeros(3), 10: torch.ones(3)},
    "bounds_error": {1: torch.ones(3), 10: torch.zeros(3)},
    "upper": torch.ones(3),
    "upper_error": torch.ones(3),
    "acceptance": torch.ones(3),
    "is_annealed": torch.tensor([True, False, True]),
    "simulated": (torch.zeros(3, 2), torch.ones(3, 5)),
    "indicative": {"CUBO": torch.ones(3), "EUBO": torch.zeros(3)},
}


def same(one: UnitEstimates, other: UnitEstimates) -> bool:
    a, b = one.to_tensors(), other.to_tensors()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_estimates_are_the_same_after_a_file_a_cut_and_a_join() -> None:
    whole = estimates(3, **EVERY)
    assert same(from_tensors(whole.to_tensors()), whole)
    assert list(from_tensors(whole.to_tensors()).bounds) == [1, 10]
    parts = [whole.select(torch.tensor([0])), whole.select(torch.tensor([1, 2]))]
    assert same(concatenate(parts), whole)
    assert same(whole.on_host(), whole)


@pytest.mark.parametrize(
    "name", ["log_evidense", "bounds", "bounds.1", "ess/1", "indicative", "checksum", "num_units"]
)
def test_an_unknown_estimate_is_an_error(name: str) -> None:
    with refused(name):
        from_tensors({**estimates(2).to_tensors(), name: torch.zeros(2)})
    with pytest.raises(TypeError, match="unexpected keyword"):
        UnitEstimates(*torch.zeros(4, 2), figures=torch.zeros(2))  # type: ignore[call-arg]


def test_a_missing_estimate_is_an_error() -> None:
    tensors = estimates(2).to_tensors()
    del tensors["ess"]
    with refused("ess"):
        from_tensors(tensors)


# --- what a call leaves behind ----------------------------------------------------------------


class Failing(BaseException):
    """Not an Exception, which some probes of the program expect."""


def test_all_settings_are_restored_after_an_error() -> None:
    """Validation flags, the precision of products and oneDNN's product, in the call and after it."""
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv

    def settings() -> tuple[object, ...]:
        validates = torch.distributions.Distribution._validate_args
        pyro_validates = pyro.settings.get()
        return (
            functional.linear,
            matmul.fp32_precision,
            conv.fp32_precision,
            validates,
            *(pyro_validates[name] for name in sorted(pyro_validates) if "validat" in name),
            torch.is_grad_enabled(),
            rng_state()["torch"].sum().item(),
        )

    # a list in a closure would be restored after each run
    calls, fail_at, inside = itertools.count(1), 0, SimpleQueue()

    def guide(x: torch.Tensor) -> None:
        if next(calls) == fail_at:
            inside.put(settings())
            raise Failing
        Conjugate.guide(x)

    matmul_before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    before = settings()
    try:
        log_evidence((Conjugate.model, guide), X, num_particles=2000, seed=0)
        assert settings() == before
        total = next(calls) - 1
        for fail_at in {1, 2, total // 2, total}:  # noqa: B007 - the guide reads it
            calls = itertools.count(1)
            with pytest.raises(Failing):
                log_evidence((Conjugate.model, guide), X, num_particles=2000, seed=0)
            assert settings() == before
    finally:
        matmul.fp32_precision = matmul_before
    states = [inside.get() for _ in range(inside.qsize())]
    assert any(state[:5] != before[:5] for state in states)
