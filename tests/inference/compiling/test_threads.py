"""Two threads that fit or estimate at once get what each alone gets, and leave no patch behind."""

import multiprocessing
import threading
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from controls import GRAPHS
from pyro.infer import TraceMeanField_ELBO
from pyro.infer import trace_mean_field_elbo as pyros_elbo
from stories import Conjugate
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional

from pyro_vae import fit, log_evidence
from pyro_vae.inference.compiling import onednn
from pyro_vae.inference.compiling.onednn import linear_by_onednn
from pyro_vae.inference.compiling.thread_patch import ThreadPatch
from pyro_vae.inference.compiling.validation_ops import ValuesOnDevice, without_validation
from pyro_vae.models import FactorAnalysis
from pyro_vae.program.contract import as_program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.one_thread import one_thread

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))


def world() -> list[Any]:
    """What a process has one of, and a fit or an evidence replaces for a while."""
    held = [functional.linear, vars(Distribution)["_validate_args"]]
    held += [vars(Distribution)["_validate_sample"], pyros_elbo.torch_item, pyros_elbo.warn_if_nan]
    return [*held, pyro.settings.get(), torch.get_rng_state().tolist()]


def in_another_thread(work: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(timeout=60)


# --- whole runs -------------------------------------------------------------------------------


def to_fit(seed: int, **options: Any) -> Callable[[], list[Tensor]]:
    """The model is made here: its first parameters are drawn from torch's one generator, too."""
    torch.manual_seed(seed)
    model = FactorAnalysis((4,), 2)

    def work() -> list[Tensor]:
        fit(model, X, epochs=4, batch_size=20, seed=seed, progress=False, device="cpu", **options)
        return [parameter.detach() for parameter in model.parameters()]

    return work


def to_weigh(seed: int) -> Callable[[], list[Tensor]]:
    x = X[:, 0].contiguous()
    return lambda: [log_evidence(Conjugate, x, seed=seed, num_particles=50).log_evidence]


JOBS: list[Callable[[int], Callable[[], list[Tensor]]]] = [
    partial(to_fit, compile="off"),
    partial(to_fit, control=GRAPHS),
    lambda seed: to_fit(seed, control=GRAPHS, elbo=TraceMeanField_ELBO()),
    to_weigh,
]


@pytest.mark.slow
def test_two_at_once_are_each_alone() -> None:
    alone = [job(seed)() for job in JOBS for seed in (1, 2)]
    jobs = [job(seed) for job in JOBS for seed in (1, 2)]
    before = world()
    barrier = threading.Barrier(2)

    def run(part: int) -> list[list[Tensor]]:
        results = []
        for job in jobs[part::2]:
            barrier.wait(timeout=120)
            results.append(job())
        return results

    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(run, (0, 1)))
    together = [result for pair in zip(*halves, strict=True) for result in pair]
    for one, other in zip(together, alone, strict=True):
        assert all(map(torch.equal, one, other))
    assert world() == before


def test_an_error_in_one_thread_leaves_the_other_to_work() -> None:
    model = FactorAnalysis((5,), 2)
    before = world()
    errors: list[Exception] = []

    def fails() -> None:
        try:
            fit(model, X, progress=False, device="cpu")
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=fails)
    thread.start()
    result = to_weigh(3)()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert errors
    assert torch.equal(*result, *to_weigh(3)())
    assert world() == before


def test_a_process_that_is_forked_meanwhile_does_not_wait() -> None:
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with one_thread():
            inside.set()
            leave.wait(timeout=60)

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait(timeout=60)
    child = multiprocessing.get_context("fork").Process(target=_enter)
    child.start()
    child.join(timeout=60)
    leave.set()
    thread.join(timeout=60)
    assert child.exitcode == 0


def _enter() -> None:
    with one_thread():
        pass


# --- what is replaced meanwhile ---------------------------------------------------------------


def test_a_patch_is_seen_by_the_threads_inside_alone() -> None:
    owner = types.ModuleType("owner")
    owner.number = original = lambda: 1  # type: ignore[attr-defined]
    patch = ThreadPatch(owner, "number", lambda usual: lambda: 2 if patch.is_active else usual())
    with patch.active():
        with patch.active():
            assert owner.number() == 2
            assert in_another_thread(lambda: owner.number()) == 1
        assert owner.number() == 2
    assert owner.number is original

    inside, leave = threading.Barrier(2), threading.Event()

    def stay() -> int:
        with patch.active():
            inside.wait(timeout=60)
            leave.wait(timeout=60)
            return owner.number()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(stay)
        with pytest.raises(ZeroDivisionError), patch.active():
            inside.wait(timeout=60)
            raise ZeroDivisionError
        assert owner.number is not original  # the other thread is still inside
        assert owner.number() == 1
        leave.set()
        assert other.result(timeout=60) == 2
    assert owner.number is original


def test_a_patch_leaves_what_somebody_else_has_set() -> None:
    owner = types.ModuleType("owner")
    owner.number = 1  # type: ignore[attr-defined]
    patch = ThreadPatch(owner, "number", lambda _: 2)
    with patch.active():
        owner.number = 3  # type: ignore[attr-defined]
    assert owner.number == 3


def test_other_threads_keep_torchs_own_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "is_intel", lambda: False)
    monkeypatch.setattr(onednn, "has_avx512", lambda: True)
    products: list[Tensor] = []
    usual = onednn.product
    monkeypatch.setattr(
        onednn, "product", lambda x, *rest: (products.append(x), usual(x, *rest))[1]
    )
    layer, rows = nn.Linear(200, 300).requires_grad_(False), torch.randn(100, 200)
    with linear_by_onednn(), torch.no_grad():
        layer(rows)
        assert len(products) == 1
        in_another_thread(lambda: torch.no_grad()(layer)(rows))
        assert len(products) == 1


def test_other_threads_keep_validation() -> None:
    def refuses() -> bool:
        with pytest.raises(ValueError, match="scale"):
            dist.Normal(0.0, -1.0, validate_args=True)
        with pytest.raises(ValueError, match="support"):
            dist.Exponential(1.0, validate_args=True).log_prob(torch.tensor(-1.0))
        return True

    with without_validation():
        dist.Normal(0.0, -1.0, validate_args=True)
        assert in_another_thread(refuses)
    assert refuses()


def test_other_threads_train_in_their_mode() -> None:
    dropout, model = nn.Dropout(0.5), FactorAnalysis((4,), 2)

    def zeros() -> int:
        return int((dropout(torch.ones(1000)) == 0).sum())

    with undisturbed(as_program(model)):
        assert in_another_thread(zeros) > 0
        assert dropout.training
        assert zeros() == 0
    assert dropout.training


def test_other_threads_read_their_values() -> None:
    with ValuesOnDevice():
        assert isinstance(pyros_elbo.torch_item(torch.tensor(1.0)), Tensor)
        assert in_another_thread(lambda: pyros_elbo.torch_item(torch.tensor(1.0))) == 1.0
    assert pyros_elbo.torch_item(torch.tensor(1.0)) == 1.0


TRAINED: list[int] = []  # reached by every object of the class below


class Counts(FactorAnalysis):
    def model(self, x: Tensor) -> None:
        if self.training:
            TRAINED.append(len(x))
        super().model(x)


def test_an_evidence_waits_for_a_fit_before_it_remembers_what_to_restore() -> None:
    """Else it would put back what was there in the middle of the fit."""
    options: dict[str, Any] = {"epochs": 40, "batch_size": 20, "progress": False, "compile": "off"}
    fit(Counts((4,)), X, **options)
    alone = len(TRAINED)
    TRAINED.clear()
    under_way = threading.Event()

    class Signals(Counts):
        def guide(self, x: Tensor) -> None:
            if len(TRAINED) > 10:
                under_way.set()
            super().guide(x)

    with ThreadPoolExecutor(1) as pool:
        fitted = pool.submit(fit, Signals((4,)), X, **options)
        assert under_way.wait(60)
        log_evidence(Counts((4,)), X, num_particles=20, seed=0)
        fitted.result()
    assert len(TRAINED) == alone
