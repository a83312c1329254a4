"""Fit: it reaches what can be known exactly, and it never goes wrong silently."""

import json
import signal
import threading
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.distributions import constraints
from pyro.infer import SVI, RenyiELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoNormal
from refused import refused, refused_with
from stories import Conjugate, GlobalMean, PyroStyleVAE
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau, StepLR

from pyro_vae import checkpoint, fit, log_evidence
from pyro_vae.data import batches
from pyro_vae.inference.svi.epochs import default_epochs
from pyro_vae.inference.svi.minibatching import Minibatching
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.inference.svi.run_storage import read_metrics
from pyro_vae.likelihoods import HeteroscedasticNormal
from pyro_vae.models import VAE, FactorAnalysis

quick = partial(fit, progress=False, device="cpu")


def data(rows: int = 512, columns: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(2, columns, generator=generator)
    return torch.randn(rows, 2, generator=generator) @ mix + 0.3 * torch.randn(
        rows, columns, generator=generator
    )


def test_by_default_small_data_get_as_many_steps_as_they_need() -> None:
    at_once = [
        default_epochs(Minibatching(rows, 128, True)) for rows in (100, 150, 500, 6_400, 60_000)
    ]
    assert at_once == [5000, 2500, 1250, 100, 100]
    whole = [default_epochs(Minibatching(rows, rows, True)) for rows in (1, 1_000, 30_000, 100_000)]
    assert whole == [5000, 5000, 167, 100]
    many = [default_epochs(Minibatching(rows, size, True)) for rows, size in
            ((200_000, 128), (10**6, 128), (10**8, 128), (10**6, 10**5))]  # fmt: skip
    assert many == [100, 20, 10, 100]
    x, still = data(500), partial(SGD, lr=0.0)
    result = quick(FactorAnalysis((5,), 2), x, validation=x, patience=2, optimizer=still)
    assert (result.epochs, len(result.metrics)) == (1250, 3)
    assert any(note.startswith("1,250 epochs of 500 rows") for note in result.notes)


@pytest.mark.slow
def test_without_held_out_data_a_large_model_does_not_learn_small_data_by_heart() -> None:
    x = data(250)
    torch.manual_seed(0)
    vae = VAE((5,), 2, likelihood=HeteroscedasticNormal)
    result = quick(vae, x[:50])
    assert result.epochs == 100
    assert any("parameters could memorise the 250 values" in note for note in result.notes)
    torch.manual_seed(0)
    longer = VAE((5,), 2, likelihood=HeteroscedasticNormal)
    quick(longer, x[:50], epochs=1000)
    of_new = [
        log_evidence(m, x[50:], num_particles=100, seed=0).log_evidence for m in (vae, longer)
    ]
    gain = (of_new[0] - of_new[1]).clamp(-20, 20)  # of each row; a few are off by thousands
    assert gain.mean() > 3 * gain.std() / len(gain) ** 0.5
    still = partial(SGD, lr=0.0)
    assert quick(FactorAnalysis((5,), 2), x[:50], optimizer=still).epochs == 5000
    validation_figure = quick(vae, x[:50], validation=x[50:], patience=1, optimizer=still)
    assert validation_figure.epochs == 5000


def test_factor_analysis_reaches_its_own_evidence_and_the_maximum_likelihood() -> None:
    """The guide's family holds the posterior, so ELBO -> evidence; and PPCA-like optima are known."""
    x = data()
    model = FactorAnalysis((5,), 2)
    result = quick(
        model,
        x,
        epochs=150,
        batch_size=64,
        optimizer=partial(Adam, lr=0.02),
        lr_schedule=partial(CosineAnnealingLR, T_max=150),
        kl_warmup=3,
    )
    with torch.no_grad():
        evidence = model.log_evidence(x).mean().item()
        # no covariance of any rank fits better than the sample's own
        covariance = (x - x.mean(0)).T @ (x - x.mean(0)) / len(x)
        best = dist.MultivariateNormal(x.mean(0), covariance).log_prob(x).mean().item()
    assert result.metrics[-1]["train_elbo"] == pytest.approx(evidence, abs=0.05)
    assert evidence <= best
    assert evidence == pytest.approx(best, abs=0.05)


def test_a_plain_pair_with_pyro_param_finds_the_posterior() -> None:
    x = torch.randn(256) * 2**0.5
    quick(
        Conjugate, x, epochs=100, batch_size=32, optimizer=partial(Adam, lr=0.02),
        lr_schedule=partial(CosineAnnealingLR, T_max=100),
    )  # fmt: skip
    store = pyro.get_param_store()
    assert store["slope"].item() == pytest.approx(0.5, abs=0.03)
    assert store["scale"].item() == pytest.approx(0.5**0.5, abs=0.03)


def test_pyro_style_and_autoguides_train() -> None:
    vae = PyroStyleVAE()
    before = [p.detach().clone() for p in vae.parameters()]
    quick(vae, data(64, 6), epochs=1)
    assert all((p != was).any() for p, was in zip(vae.parameters(), before, strict=True))

    guide = AutoNormal(GlobalMean.model)
    x = torch.randn(20) + 2
    quick(
        (GlobalMean.model, guide),
        x,
        epochs=800,
        batch_size=20,
        elbo=Trace_ELBO(num_particles=16, vectorize_particles=True),
        optimizer=partial(Adam, lr=0.02),
        lr_schedule=partial(CosineAnnealingLR, T_max=800),
    )
    assert guide.median()["mean"].item() == pytest.approx(x.sum().item() / 21, abs=0.02)


@pytest.mark.parametrize(
    "elbo",
    [
        Trace_ELBO(),
        TraceMeanField_ELBO(),
        RenyiELBO(num_particles=3),
        Trace_ELBO(4, vectorize_particles=True),
    ],
)
def test_any_pyro_elbo(elbo) -> None:
    result = quick(
        FactorAnalysis((5,), 2), data(), epochs=5, elbo=elbo, optimizer=partial(Adam, lr=0.01)
    )
    name = "train_objective" if isinstance(elbo, RenyiELBO) else "train_elbo"
    elbos = [m[name] for m in result.metrics]
    assert elbos[-1] > elbos[0]


def test_enumerated_latents() -> None:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loc = nn.Parameter(torch.tensor([-1.0, 1.0]))

        def model(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                which = pyro.sample(
                    "which", dist.Categorical(torch.ones(2) / 2), infer={"enumerate": "parallel"}
                )
                pyro.sample("x", dist.Normal(self.loc[which], 1.0), obs=x)

        def guide(self, x: Tensor) -> None:
            pass

    x = torch.randn(200) + 3 * torch.randn(200).sign()
    mixture = Mixture()
    quick(
        mixture,
        x,
        epochs=100,
        elbo=TraceEnum_ELBO(max_plate_nesting=1),
        optimizer=partial(Adam, lr=0.05),
    )
    assert mixture.loc.detach().sort().values.tolist() == pytest.approx([-3, 3], abs=0.4)


def test_the_loss_is_per_unit_whatever_the_plate_is_scaled_by() -> None:
    def story(plate_size: int | None):
        def model(x: Tensor) -> None:
            with pyro.plate("data", plate_size or len(x), subsample=torch.arange(len(x))):
                pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x)

        def guide(x: Tensor) -> None:
            slope = pyro.param("slope", torch.tensor(0.1))
            with pyro.plate("data", plate_size or len(x), subsample=torch.arange(len(x))):
                pyro.sample("z", dist.Normal(slope * x, 1.0))

        return model, guide

    x = torch.randn(100)
    trained = []
    for size in (None, 100):
        pyro.clear_param_store()
        result = quick(story(size), x, epochs=3, batch_size=25, optimizer=partial(SGD, lr=0.1))
        trained.append((pyro.param("slope").item(), result.metrics[-1]["train_elbo"]))
    assert trained[0] == pytest.approx(trained[1], rel=1e-4)


def test_validation_changes_nothing_and_is_the_elbo() -> None:
    x = data()
    runs = []
    for validation in (None, x[:100]):
        torch.manual_seed(0)
        model = FactorAnalysis((5,), 2)
        result = quick(model, x, validation=validation, epochs=4, keep_best=False)
        runs.append((list(model.parameters()), result.metrics))
    for one, other in zip(runs[0][0], runs[1][0], strict=True):
        assert torch.equal(one, other)
    assert "validation_elbo" not in runs[0][1][-1]
    assert runs[1][1][-1]["validation_elbo"] <= model.log_evidence(x[:100]).mean().item() + 0.5


def test_keep_best_and_patience() -> None:
    x = data(64)
    model = FactorAnalysis((5,), 2)
    result = quick(
        model, x, validation=x[:8] * 3, epochs=500, patience=5, optimizer=partial(Adam, lr=0.05)
    )
    assert len(result.metrics) == result.best_epoch + 5 < 500
    best = max(m["validation_elbo"] for m in result.metrics)
    assert result.metrics[result.best_epoch - 1]["validation_elbo"] == best


def test_batchnorm_trains_and_validates_in_its_own_mode() -> None:
    net = lambda i, o: _WithNorm(i, o)  # noqa: E731
    vae = VAE((5,), 2, encoder=net, decoder=net)
    assert vae.training
    vae.eval()
    x = (data(100) > 0).float()
    quick(vae, x, validation=x[:20], epochs=2, batch_size=50, keep_best=False)
    assert not vae.training
    assert vae.recognition.encoder.norm.num_batches_tracked == 4  # validation counted for nothing


class _WithNorm(nn.Module):
    def __init__(self, in_shape, out_shape) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(in_shape[0])
        size = torch.Size(out_shape).numel()
        self.linear, self.out_shape = nn.Linear(in_shape[0], size), out_shape

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x)).unflatten(-1, self.out_shape)


def test_kl_warmup_clipping_and_schedules_are_recorded() -> None:
    result = quick(
        FactorAnalysis((5,), 2), data(), epochs=4, batch_size=128, kl_warmup=2, beta=0.5, clip_norm=1.0,
        lr_schedule=partial(CosineAnnealingLR, T_max=4),
    )  # fmt: skip
    assert [m["beta"] for m in result.metrics] == [0.25, 0.5, 0.5, 0.5]
    rates = [m["learning_rate"] for m in result.metrics]
    assert rates == pytest.approx([1e-3, 8.5355e-4, 5e-4, 1.4645e-4], rel=1e-3)


def test_global_state_is_untouched() -> None:
    model = FactorAnalysis((5,), 2)
    pyro.enable_validation(False)
    before, handlers = torch.get_rng_state(), signal.getsignal(signal.SIGINT)
    try:
        quick(model, data(), epochs=1)
        assert torch.equal(before, torch.get_rng_state())
        assert not any(v for k, v in pyro.settings.get().items() if k.startswith("validate"))
        assert signal.getsignal(signal.SIGINT) is handlers
    finally:
        pyro.enable_validation(True)


# --- what must not go wrong silently ----------------------------------------------------------


def test_a_network_that_nobody_registers_is_named() -> None:
    net = nn.Linear(5, 2)

    def guide(x: Tensor) -> None:
        scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(net(x), scale).to_event(1))

    model = FactorAnalysis((5,), 2).requires_grad_(False)
    with refused(remedy="pyro.module") as caught:
        quick((model.model, guide), data(), epochs=1)
    assert "2 parameters" in str(caught.value)
    net.requires_grad_(False)
    quick((model.model, guide), data(), epochs=1)


def test_nothing_to_train() -> None:
    with refused(remedy="pyro.module"):
        quick(FactorAnalysis((5,), 2).requires_grad_(False), data(), epochs=1)


def test_a_second_model_is_not_trained_in_the_first_ones_place() -> None:
    first, second = PyroStyleVAE(), PyroStyleVAE()
    quick(first, data(32, 6), epochs=1)
    trained = [p.detach().clone() for p in first.parameters()]
    untrained = [p.detach().clone() for p in second.parameters()]
    quick(second, data(32, 6), epochs=1)
    assert all(torch.equal(p, was) for p, was in zip(first.parameters(), trained, strict=True))
    assert all((p != was).any() for p, was in zip(second.parameters(), untrained, strict=True))


class Explodes(FactorAnalysis):
    """Its scale is the square root of something that training drives below zero."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            scale = (self.bias.sum() + 1e-2).sqrt()
            pyro.sample("x", dist.Normal(z @ self.loadings.T, scale).to_event(1), obs=x)


@pytest.mark.parametrize("checks_each_loss", [True, False])  # a GPU's are seen once an epoch
def test_a_loss_that_is_not_finite_names_its_site_and_leaves_the_checkpoint(
    tmp_path, checks_each_loss
) -> None:
    model = Explodes((5,), 2)
    model.bias.register_hook(
        lambda gradient: torch.ones_like(gradient)
    )  # downhill, whatever the data
    with refused("x", remedy="clip_norm"):
        quick(
            model, data(), epochs=50, batch_size=64, optimizer=partial(SGD, lr=2e-4), out=tmp_path,
            control=RunControl(checks_each_loss=checks_each_loss),
        )  # fmt: skip
    tensors, _ = checkpoint.read(tmp_path / "checkpoint.safetensors")
    assert all(torch.isfinite(t.double()).all() for t in tensors.values())


def test_values_outside_the_support_are_found_in_any_batch() -> None:
    x = (data(256) > 0).float()
    x[200, 3] = 0.5
    with refused("x", remedy="binarise"):
        quick(VAE((5,), 2), x, epochs=1, batch_size=16)


@pytest.mark.parametrize(
    ("options", "subject", "fields"),
    [
        ({"epochs": 0}, "epochs", {"expected": "1"}),
        ({"batch_size": 0}, "batch_size", {"expected": "1"}),
        ({"beta": -1.0}, "beta", {"expected": "0"}),
        ({"resume": True}, "resume", {}),
        ({"clip_norm": -1}, "clip_norm", {"expected": "positive"}),
        ({"patience": 0}, "patience", {"expected": "1"}),
        ({"steps": 0}, "steps", {"expected": "1"}),
        ({"steps": 10, "epochs": 10}, "steps", {"remedy": "one of them"}),
        ({"averaging": 0.0}, "averaging", {"expected": "share"}),
        ({"averaging": 20}, "averaging", {"expected": "at most 1"}),
        ({"restarts": 0}, "restarts", {"expected": "1"}),
        ({"keep_best": 3}, "keep_best", {"expected": "True or False"}),
        ({"shuffle": "x"}, "shuffle", {"expected": "True or False"}),
        ({"elbo": "IWAE"}, "elbo", {"expected": "ELBO", "remedy": "Trace_ELBO()"}),
        ({"elbo": Trace_ELBO}, "elbo", {"remedy": "Trace_ELBO(...)"}),
        ({"lr_schedule": 3}, "lr_schedule", {"remedy": "StepLR"}),
        ({"lr_schedule": StepLR}, "lr_schedule", {"remedy": "step_size"}),
        ({"lr_schedule": lambda optimizer: 3}, "lr_schedule", {"expected": "LRScheduler"}),
        ({"optimizer": torch.optim.LBFGS}, "optimizer", {"remedy": "Adam"}),
    ],
)
def test_options_that_make_no_sense(options, subject, fields) -> None:
    with refused(subject, **fields):
        fit(FactorAnalysis((5,), 2), data(), progress=False, **options)


@pytest.mark.parametrize("device", ["cuda:7", "gpu"])
def test_a_device_that_is_not_there(device: str) -> None:
    with refused("device", remedy="cpu or auto"):
        fit(FactorAnalysis((5,), 2), data(), progress=False, device=device)


def test_data_that_do_not_fit_the_program() -> None:
    with refused("guide"):
        quick(FactorAnalysis((4,), 2), data(), epochs=1)


# --- exactness --------------------------------------------------------------------------------


def test_the_same_seed_is_the_same_run_and_data_order_is_a_function_of_seed_and_epoch() -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        model = FactorAnalysis((5,), 2)
        torch.manual_seed(6 + len(results))
        results.append((quick(model, data(), epochs=3, seed=1).metrics, model.state_dict()))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(a, results[1][1][n]) for n, a in results[0][1].items())
    rows = Minibatching(10, 10, shuffle=True)
    assert torch.equal(rows.order(1, 2), rows.order(1, 2))
    assert not torch.equal(rows.order(1, 2), rows.order(1, 3))


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": partial(Adam, lr=0.01), "lr_schedule": partial(CosineAnnealingLR, T_max=6)},
        {
            "optimizer": partial(AdamW, lr=0.01),
            "lr_schedule": partial(ReduceLROnPlateau, patience=0),
        },
        {"optimizer": partial(SGD, lr=0.01, momentum=0.9), "kl_warmup": 4},
        {"optimizer": partial(Adam, lr=0.01, amsgrad=True), "clip_norm": 0.1},
        {"optimizer": partial(Adam, lr=0.01), "averaging": 0.6},
    ],
)
def test_resume_is_exact_wherever_it_stopped(tmp_path, options) -> None:
    x = data()

    def run(out, **more):
        torch.manual_seed(0)
        model = FactorAnalysis((5,), 2)
        result = quick(
            model, x, validation=x[:50], epochs=6, batch_size=100, out=out, **options, **more
        )
        return model, result

    whole, result = run(tmp_path / "whole")
    for steps in (1, 6, 7, 17):  # in the first epoch, at its end, at a start, in the middle
        out = tmp_path / str(steps)
        run(out, control=RunControl(stop_after=steps))
        again, resumed = run(out, resume=True)
        assert resumed.metrics == result.metrics == read_metrics(out / "metrics.jsonl")
        for one, other in zip(whole.parameters(), again.parameters(), strict=True):
            assert torch.equal(one, other)


class Stopped(Exception):
    """What a handler of one's own might raise."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_first_and_then_act(tmp_path, number) -> None:
    def handler(*_) -> None:
        raise Stopped

    before = signal.signal(number, handler)
    try:
        threading.Timer(0.5, lambda: signal.raise_signal(number)).start()
        model = FactorAnalysis((5,), 2)
        with pytest.raises(Stopped):
            quick(model, data(), epochs=100_000, out=tmp_path, compile="off")
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
    tensors, record = checkpoint.read(tmp_path / "checkpoint.safetensors")
    assert torch.equal(tensors["model/loadings"], model.loadings)
    assert record["position"]["epoch"] == len(read_metrics(tmp_path / "metrics.jsonl")) > 0


def test_a_folder_that_holds_another_run(tmp_path) -> None:
    quick(FactorAnalysis((5,), 2), data(), epochs=1, out=tmp_path)
    with refused(str(tmp_path), remedy="--resume"):
        quick(FactorAnalysis((5,), 2), data(), epochs=1, out=tmp_path)
    with refused("program") as caught:
        quick(VAE((5,), 2), (data() > 0).float(), epochs=1, out=tmp_path, resume=True)
    assert "FactorAnalysis, not VAE" in str(caught.value)
    with refused_with("'loadings'", "(5, 2)"):
        quick(FactorAnalysis((5,), 3), data(), epochs=1, out=tmp_path, resume=True)


def test_metrics_are_json_lines(tmp_path) -> None:
    result = quick(FactorAnalysis((5,), 2), data(), epochs=2, out=tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == result.metrics
    assert [m["epoch"] for m in result.metrics] == [1, 2]


def test_data_come_in_many_forms() -> None:
    x = data()
    rows = torch.utils.data.TensorDataset(x)
    loader = torch.utils.data.DataLoader(rows, batch_size=128)
    trained = []
    for form in (x, (x,), rows, loader):
        torch.manual_seed(0)
        model = FactorAnalysis((5,), 2)
        quick(model, form, epochs=2)
        trained.append(model.loadings)
    assert all(torch.equal(trained[0], other) for other in trained[1:])
    assert batches(x).num_units == 512


def hiding(**what: Any) -> tuple[Any, Any]:
    """A model with a scale of its own, of which it hides something."""

    def model(x: Tensor) -> None:
        scale = pyro.param("scale", torch.tensor(2.0), constraint=constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, scale), obs=x)

    def guide(x: Tensor) -> None:
        loc = pyro.param("loc", torch.tensor(0.5))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 1.0))

    return poutine.block(model, **what), guide


@pytest.mark.parametrize(
    "what", [{"hide_types": ["param"]}, {"hide": ["scale"]}, {"expose": ["z", "x", "data"]}]
)
def test_a_parameter_that_is_hidden_stays_as_it_is_and_a_note_says_so(what) -> None:
    """As in Pyro's SVI, which trains what it sees in the trace."""
    x = torch.randn(20, generator=torch.Generator().manual_seed(0))
    pyro.clear_param_store()
    model, guide = hiding(**what)
    svi = SVI(model, guide, pyro.optim.SGD({"lr": 0.1}), Trace_ELBO())
    pyro.set_rng_seed(0)
    svi.step(x)
    expected = {n: pyro.param(n).item() for n in ("scale", "loc")}
    assert expected["scale"] == pytest.approx(2.0)
    assert expected["loc"] != 0.5
    pyro.clear_param_store()
    result = fit((model, guide), x, epochs=3, batch_size=20, progress=False, device="cpu")
    assert pyro.param("scale").item() == pytest.approx(2.0)
    assert pyro.param("loc").item() != 0.5
    assert (
        "parameters that the program hides (poutine.block) stay as they are: 'scale'"
        in result.notes
    )
