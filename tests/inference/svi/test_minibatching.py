"""How a fit takes its rows: plates without a size, rows that have a place, latents that all rows share."""

from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from oracles import errors_off
from pyro import poutine
from pyro.infer import SVI, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoDiagonalNormal, AutoMultivariateNormal, AutoNormal
from refused import refused
from stories import Conjugate
from torch import Tensor
from torch.optim import SGD, Adam

from pyro_vae import fit, log_evidence
from pyro_vae.inference.objectives import IWAE
from pyro_vae.inference.svi.minibatching import Minibatching

quick = partial(fit, progress=False, device="cpu", compile="off")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- plates without a size ------------------------------------------------------------------------


def sizeless(x: Tensor) -> None:
    mean = pyro.param("mean", torch.tensor(0.0))
    with pyro.plate("data"):
        z = pyro.sample("z", dist.Normal(mean.expand(len(x)), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def amortised(x: Tensor) -> None:
    slope, shift, log_scale = (pyro.param(n, torch.tensor(v)) for n, v in
                               (("slope", 0.5), ("shift", 0.0), ("log_scale", -0.3)))  # fmt: skip
    with pyro.plate("data"):
        pyro.sample("z", dist.Normal(slope * x + shift, log_scale.exp()))


@pytest.mark.parametrize("elbo", [None, TraceMeanField_ELBO(), IWAE(3)])
def test_a_plate_without_a_size_is_as_long_as_its_sites(elbo: Any) -> None:
    x = 3 + drawn(40)
    adam = partial(Adam, lr=0.02)
    result = quick((sizeless, amortised), x, validation=x, epochs=150, optimizer=adam, elbo=elbo)
    first, last = result.metrics[0], result.metrics[-1]
    figure = "bound" if isinstance(elbo, IWAE) else "elbo"
    assert first[f"train_{figure}"] < last[f"train_{figure}"] < -1.3
    assert abs(last[f"validation_{figure}"] - last[f"train_{figure}"]) < 0.5
    mean = pyro.param("mean").detach()
    exact = dist.Normal(mean, 2**0.5).log_prob(x).mean().item()
    for call in ({"data": x}, {"args": (x,)}):
        found = log_evidence((sizeless, amortised), **call, seed=0)
        assert (found.unit, found.num_units) == ("data", 40)
        assert abs(found.mean - exact) < 4 * found.mean_standard_error


def test_one_value_for_a_plate_without_a_size_is_shared_by_its_units() -> None:
    """Pyro draws one z there, so the evidence is a joint one."""
    x = drawn(6) + 1

    def model(x: Tensor) -> None:
        with pyro.plate("data"):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0).expand([len(x)]), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data"):
            pyro.sample("z", dist.Normal(x.sum() / 7, 0.4))

    found = log_evidence((model, guide), x, num_particles=5000, seed=0)
    exact = dist.MultivariateNormal(torch.zeros(6), torch.eye(6) + 1).log_prob(x).item()
    assert found.unit is None
    assert abs(found.total - exact) < 4 * found.mean_standard_error


# --- rows that have a place -----------------------------------------------------------------------


def local(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 0.5), obs=x)


def row_each(x: Tensor) -> None:
    """All rows' parameters start out equal."""
    loc = pyro.param("loc", lambda: torch.zeros(len(x)))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc, 0.5))


X = drawn(300, seed=1) * 2
GUIDES = [
    AutoNormal,
    AutoDiagonalNormal,
    partial(AutoNormal, init_scale=0.3),
    lambda model: row_each,
]


@pytest.mark.parametrize("make", GUIDES)
def test_parameters_of_rows_meet_their_rows(make: Any) -> None:
    """With the default batch, of fewer rows than there are."""
    program = local, make(local)
    result = quick(program, X, epochs=250, optimizer=partial(Adam, lr=0.05))
    assert "the rows keep their order, all 300 in a step" in " ".join(result.notes)
    exact = dist.Normal(0.0, 1.25**0.5).log_prob(X).mean().item()
    elbo = sum(m["train_elbo"] for m in result.metrics[-50:]) / 50
    per_row = elbo / (1 if program[1] is row_each or isinstance(program[1], AutoNormal) else 300)
    assert exact - 0.15 < per_row < exact + 0.05


def test_a_guide_that_was_set_up_for_all_rows_is_given_all_rows() -> None:
    guide = AutoNormal(local)
    guide(X)
    assert "all 300 in a step" in " ".join(quick((local, guide), X, epochs=1).notes)


@pytest.mark.parametrize("is_set_up", [True, False])
def test_smaller_batches_are_refused_where_rows_have_a_place(is_set_up: bool) -> None:
    guide = AutoNormal(local)
    if is_set_up:
        guide(X)
    with refused("batch_size", remedy="batch_size=300"):
        quick((local, guide), X, epochs=1, batch_size=50)
    assert is_set_up or guide.prototype_trace is None  # as it was found
    with refused("batch_size", remedy="shuffle=True") as caught:
        quick((local, row_each), X, epochs=1, batch_size=50)
    assert "the guide's site 'z'" in str(caught.value)
    quick((local, row_each), X, epochs=1, batch_size=50, shuffle=True)  # who says so, knows


def test_a_series_keeps_its_order() -> None:
    def model(y: Tensor) -> None:
        step = pyro.param("step", torch.tensor(1.0), constraint=dist.constraints.positive)
        with pyro.plate("time", len(y)):
            before = torch.cat([torch.zeros(1), y[:-1]])
            pyro.sample("y", dist.Normal(before, step), obs=y)

    y = (drawn(30) * 0.3).cumsum(0)
    quick((model, lambda y: None), y, epochs=300, optimizer=partial(Adam, lr=0.03))
    best = torch.diff(y, prepend=torch.zeros(1)).square().mean().sqrt()
    torch.testing.assert_close(pyro.param("step").detach(), best, rtol=1e-3, atol=0)
    with refused("batch_size", remedy="shuffle=True") as caught:
        quick((model, lambda y: None), y, epochs=1, batch_size=10)
    assert "'y'" in str(caught.value)


def test_what_is_closed_over_by_row_keeps_its_rows() -> None:
    covariates = drawn(200, 2, seed=2)
    y = covariates @ torch.tensor([1.0, -2.0]) + 0.1 * drawn(200, seed=3)

    def model(y: Tensor) -> None:
        w = pyro.param("w", torch.zeros(2))
        with pyro.plate("rows", len(y)):
            pyro.sample("y", dist.Normal(covariates[: len(y)] @ w, 0.1), obs=y)

    quick((model, lambda y: None), y, epochs=300, optimizer=partial(Adam, lr=0.05))
    best = torch.linalg.lstsq(covariates, y).solution
    torch.testing.assert_close(pyro.param("w").detach(), best, rtol=0, atol=0.01)


def test_networks_noise_and_loops_have_no_place() -> None:
    def loop(x: Tensor) -> None:
        f = pyro.sample("f", dist.Beta(2.0, 2.0))
        for i in pyro.plate("data", len(x)):
            pyro.sample(f"x{i}", dist.Bernoulli(f), obs=x[i])

    def noisy(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = pyro.param("a", torch.tensor(0.5)) * x + 0.1 * torch.randn(len(x))
            pyro.sample("z", dist.Normal(loc, 1.0))

    for program, x in (
        ((loop, AutoNormal(loop)), (X[:20] > 0).float()),
        ((local, noisy), X),
    ):
        assert "order" not in " ".join(quick(program, x, epochs=1).notes)


def test_the_order_that_is_asked_for() -> None:
    seen: list[Tensor] = []

    def model(x: Tensor) -> None:
        seen.append(x.clone())
        Conjugate.model(x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(pyro.param("a", torch.tensor(0.5)) * x, 0.8))

    x = torch.arange(6.0)
    for shuffle in (False, None, True):
        seen.clear()
        quick((model, guide), x, epochs=2, batch_size=3, shuffle=shuffle)
        steps = torch.cat(seen[-4:])
        assert torch.equal(steps.reshape(2, 6).sort().values, x.expand(2, 6))
        assert torch.equal(steps, x.repeat(2)) == (shuffle is False)
    rows = Minibatching(6, 3, shuffle=True)
    assert torch.equal(steps[:6], x[rows.order(0, 0)])


def test_validation_rows_that_a_guide_knows_nothing_of() -> None:
    with refused("validation", remedy="leave validation out"):
        quick((local, AutoNormal(local)), X, validation=X[:100], epochs=1)
    quick((local, AutoNormal(local)), X, validation=X, epochs=1)


def test_a_group_index_that_is_sorted_is_seen_beyond_the_first_batch() -> None:
    group = torch.arange(600) // 300
    x = 5.0 * group + 0.5 * drawn(600, seed=7)

    def model(x: Tensor) -> None:
        means = pyro.param("means", torch.zeros(2))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(means[group[: len(x)]], 0.5), obs=x)

    result = quick((model, lambda x: None), x, epochs=300, optimizer=partial(Adam, lr=0.1))
    assert "keep their order" in " ".join(result.notes)
    best = torch.stack([x[:300].mean(), x[300:].mean()])
    torch.testing.assert_close(pyro.param("means").detach(), best, rtol=0, atol=0.02)
    with refused("batch_size", remedy="take batch_size=600"):
        quick((model, lambda x: None), x, epochs=1, batch_size=100)


def test_an_order_that_hardly_counts_at_first() -> None:
    """Returns of a thousandth, a scale of 1: at first the order moves no score by a millionth."""
    y = torch.zeros(400)
    for t in range(1, 400):
        y[t] = 0.8 * y[t - 1] + 0.002 * drawn(1, seed=t).item()

    def model(y: Tensor) -> None:
        phi, log_scale = pyro.param("phi", torch.tensor(0.0)), pyro.param("s", torch.tensor(0.0))
        with pyro.plate("time", len(y)):
            before = torch.cat([torch.zeros(1), y[:-1]])
            pyro.sample("y", dist.Normal(phi * before, log_scale.exp()), obs=y)

    assert "keep their order" in " ".join(quick((model, lambda y: None), y, epochs=1).notes)


def test_a_series_in_parts_for_whoever_asks() -> None:
    def model(y: Tensor) -> None:
        step = pyro.param("step", torch.tensor(1.0), constraint=dist.constraints.positive)
        with pyro.plate("time", len(y)):
            pyro.sample("y", dist.Normal(torch.cat([torch.zeros(1), y[:-1]]), step), obs=y)

    seen = quick((model, lambda y: None), X, epochs=1, batch_size=100, shuffle=False)
    assert "the rows keep their order, 100 in a step" in " ".join(seen.notes)


def test_data_that_are_handed_over_as_a_subsample() -> None:
    """As Pyro's CEVAE has it: the plate's indices are the data themselves."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample=x):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample=x):
            pyro.sample("z", dist.Normal(pyro.param("a", torch.tensor(0.5)) * x, 0.75))

    assert "order" not in " ".join(quick((model, guide), X, epochs=1).notes)
    found = log_evidence((model, guide), X, seed=0)
    exact = dist.Normal(0.0, 2**0.5).log_prob(X).mean().item()
    assert abs(found.mean - exact) < 4 * found.mean_standard_error + 0.01


def test_a_program_that_wants_its_rows_in_order() -> None:
    times = drawn(60).abs().cumsum(0)

    def model(t: Tensor) -> None:
        assert (t.diff() > 0).all()
        with pyro.plate("events", len(t)):
            pyro.sample("t", dist.Exponential(pyro.param("rate", torch.tensor(1.0))), obs=t)

    program = model, lambda t: None
    assert "keep their order" in " ".join(quick(program, times, epochs=1).notes)
    exact = dist.Exponential(pyro.param("rate").detach()).log_prob(times).mean().item()
    assert log_evidence(program, times).mean == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("count", [2, 60])
def test_noise_hides_no_place(count: int) -> None:
    """A model that augments its data, and a guide with parameters for each row."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x + 0.1 * torch.randn(len(x)))

    result = quick((model, AutoNormal(model)), X[:count], epochs=1)
    assert "the guide's site 'z_unconstrained' depends on" in " ".join(result.notes)


def test_masks_that_begin_further_on_are_seen() -> None:
    """They take latents out of the model which the guide draws all the same."""
    seen = torch.arange(500) < 300

    def model(x: Tensor, seen: Tensor) -> None:
        with pyro.plate("data", len(x)), pyro.poutine.mask(mask=seen):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor, seen: Tensor) -> None:
        log_scales = pyro.param("log_scales", torch.tensor([-0.3, 1.0]))
        with pyro.plate("data", len(x)):
            scale = torch.where(seen, log_scales[0], log_scales[1]).exp()
            pyro.sample("z", dist.Normal(x * seen / 2, scale))

    x = drawn(500, seed=8) * 2**0.5
    result = quick((model, guide), (x, seen), epochs=100, optimizer=partial(Adam, lr=0.05))
    exact = torch.where(seen, dist.Normal(0.0, 2**0.5).log_prob(x), 0.0).mean().item()
    elbo = sum(m["train_elbo"] for m in result.metrics[-20:]) / 20
    assert exact - 0.05 < elbo < exact + 0.02
    scales = pyro.param("log_scales").exp()
    assert scales[1].item() == pytest.approx(1.0, abs=0.1)  # of what is masked, the prior's


# --- latents that all rows share ------------------------------------------------------------------


def shared_mean(x: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
    with pyro.plate("n", len(x)):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


def subsampled(x: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
    with pyro.plate("n", 300, subsample_size=len(x)):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


def shared_and_sizeless(x: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
    with pyro.plate("n"):
        pyro.sample("x", dist.Normal(mean.expand(len(x)), 1.0), obs=x)


@pytest.mark.parametrize("model", [shared_mean, subsampled, shared_and_sizeless])
@pytest.mark.parametrize("batch_size", [None, 60])
def test_a_batch_counts_for_all_rows_that_share_a_latent(
    model: Any, batch_size: int | None
) -> None:
    def guide(x: Tensor) -> None:
        loc, log_scale = pyro.param("loc", torch.tensor(2.5)), pyro.param("s", torch.tensor(-2.4))
        pyro.sample("mean", dist.Normal(loc, log_scale.exp()))

    x = X / 2 + 3
    result = quick(
        (model, guide), x, epochs=160 if batch_size else 800, batch_size=batch_size,
        optimizer=partial(Adam, lr=0.01),
    )  # fmt: skip
    notes = " ".join(result.notes)
    if batch_size is None:
        assert "a step takes all 300 rows" in notes
    else:
        assert "a step takes 60 of 300 rows for all of them" in notes
        assert ("plate 'n' holds counts 5 times" in notes) == (model is not subsampled)
    posterior_scale = (300 + 0.01) ** -0.5
    assert pyro.param("s").exp().item() == pytest.approx(posterior_scale, rel=0.15)
    exact = log_evidence((shared_mean, guide), x, num_particles=5000, seed=0)
    elbo = sum(m["train_elbo"] for m in result.metrics[-100:]) / 100
    assert exact.total - 3 < elbo < exact.total + 3  # the ELBO of all rows, not of a batch


def test_a_batch_has_the_gradient_of_pyros_subsample() -> None:
    x = X[:40]

    def by_pyro(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
        with pyro.plate("n", 40, subsample=torch.arange(10)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("mean", dist.Normal(pyro.param("loc", torch.tensor(0.3)), 0.1))

    result = quick(
        (shared_mean, guide), x, epochs=1, batch_size=10, optimizer=partial(SGD, lr=1e-3)
    )
    ours = pyro.param("loc").detach().clone()
    pyro.clear_param_store()
    svi = SVI(by_pyro, guide, pyro.optim.SGD({"lr": 1e-3}), pyro.infer.Trace_ELBO())
    pyro.set_rng_seed(0)
    order = Minibatching(40, 10, shuffle=True).order(0, 0)
    losses = [svi.step(batch) for batch in x[order].split(10)]
    torch.testing.assert_close(ours, pyro.param("loc").detach(), rtol=1e-4, atol=1e-5)
    assert result.metrics[0]["train_elbo"] == pytest.approx(-sum(losses) / 4, rel=1e-4)


def of_a_subsample(x: Tensor) -> None:
    """The plate stands for the batch, not for all rows."""
    mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
    with pyro.plate("n", len(x), subsample_size=20) as some:
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x[some])


def scaled_by_hand(x: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
    with pyro.plate("n", len(x)), pyro.poutine.scale(scale=300 / len(x)):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


@pytest.mark.parametrize("model", [of_a_subsample, scaled_by_hand])
def test_a_batch_counts_once_for_all_rows(model: Any) -> None:
    def guide(x: Tensor) -> None:
        loc, log_scale = pyro.param("loc", torch.tensor(3.0)), pyro.param("s", torch.tensor(-3.4))
        pyro.sample("mean", dist.Normal(loc, log_scale.exp()))

    adam = partial(Adam, lr=0.005)
    quick((model, guide), X / 2 + 3, epochs=400, batch_size=60, optimizer=adam)
    assert pyro.param("s").exp().item() == pytest.approx(300**-0.5, rel=0.2)


def of_groups(x: Tensor, group: Tensor) -> None:
    with pyro.plate("groups", 4):
        effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(effect[..., group], 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def of_groups_guide(x: Tensor, group: Tensor) -> None:
    slope = pyro.param("slope", torch.tensor(0.5))
    with pyro.plate("groups", 4):
        pyro.sample("effect", dist.Normal(torch.zeros(4), 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(slope * x, 0.7))


def test_rows_look_up_the_effects_of_their_groups() -> None:
    data, still = (drawn(40), torch.arange(40) % 4), partial(SGD, lr=0.0)
    figures = []
    for batch_size in (40, 7):
        result = fit(
            (of_groups, of_groups_guide),
            data,
            epochs=60,
            batch_size=batch_size,
            optimizer=still,
            progress=False,
            compile="off",
        )
        elbos = torch.tensor([m["train_elbo"] for m in result.metrics])
        figures.append((elbos.mean(), elbos.std() / 60**0.5))
    (whole, error), (batched, other) = figures
    assert abs(whole - batched) < 4 * (error.square() + other.square()).sqrt()


def by_a_factor(x: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
    pyro.factor("likelihood", dist.Normal(mean, 1.0).log_prob(x).sum())


def by_its_mean(x: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
    pyro.sample("x", dist.Normal(mean, len(x) ** -0.5), obs=x.mean())


@pytest.mark.parametrize("model", [by_a_factor, by_its_mean])
def test_what_is_made_of_a_batch_cannot_count_for_all(model: Any) -> None:
    with refused("likelihood" if model is by_a_factor else "x", remedy="put it in a plate"):
        quick((model, AutoNormal(model)), X, epochs=1, batch_size=50)


@pytest.mark.parametrize("batch_size", [None, 60])
def test_units_that_are_no_rows(batch_size: int | None) -> None:
    """Each of five columns has a mean of its own; the rows lie in an inner plate."""
    x = drawn(300, 5, seed=9) + torch.arange(5.0)

    def model(x: Tensor) -> None:
        with pyro.plate("columns", 5, dim=-1):
            mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
            with pyro.plate("rows", len(x), dim=-2):
                pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    guide = AutoNormal(model)
    adam = partial(Adam, lr=0.02)
    result = quick(
        (model, guide), x, epochs=100 if batch_size else 500, batch_size=batch_size, optimizer=adam
    )
    found = log_evidence((model, guide), x, num_particles=5000, seed=0)
    covariance = torch.full((300, 300), 100.0) + torch.eye(300)
    exact = dist.MultivariateNormal(torch.zeros(300), covariance).log_prob(x.T).mean().item()
    assert (found.unit, found.num_units) == ("columns", 5)
    assert abs(found.mean - exact) < 0.2
    elbo = sum(m["train_elbo"] for m in result.metrics[-50:]) / 50
    assert exact - 3 < elbo < exact + 1


def test_units_that_depend_on_one_another_are_one_batch() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z - z.mean(-1, keepdim=True), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(pyro.param("a", torch.tensor(0.5)) * x, 0.8))

    quick((model, guide), X, epochs=1)
    said = quick((model, guide), X, epochs=1, batch_size=50).notes
    assert "units of plate 'data' depend on one another's latents" in " ".join(said)


def test_rows_in_no_plate_cannot_count_for_all() -> None:
    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
        pyro.sample("x", dist.Normal(mean, 1.0).expand([len(x)]).to_event(1), obs=x)

    with refused("x", remedy="put it in a plate"):
        quick((model, AutoNormal(model)), X, epochs=1, batch_size=50)
    quick((model, AutoNormal(model)), X, epochs=1)


def test_a_bound_of_whole_weights_takes_all_rows() -> None:
    guide = AutoMultivariateNormal(shared_mean)
    with refused("n", remedy="subsample_size"):
        quick((shared_mean, guide), X, epochs=1, batch_size=50, elbo=IWAE(3))
    quick((shared_mean, guide), X, epochs=1, elbo=IWAE(3))


# --- one call in place of rows --------------------------------------------------------------------


def test_arguments_in_place_of_data() -> None:
    covariate, group = drawn(60, seed=4), torch.arange(6).repeat_interleave(10)
    y = covariate + drawn(6, seed=5)[group]

    def model(batch: dict[str, Tensor], groups: int, *, scale: float) -> None:
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        with pyro.plate("groups", groups):
            shift = pyro.sample("shift", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", len(batch["y"])):
            loc = slope * batch["x"] + shift[..., group]
            pyro.sample("y", dist.Normal(loc, scale), obs=batch["y"])

    guide = AutoMultivariateNormal(model, init_scale=0.1)
    call: dict[str, Any] = {"args": ({"x": covariate, "y": y}, 6), "kwargs": {"scale": 0.5}}
    result = quick((model, guide), **call, epochs=700, optimizer=partial(Adam, lr=0.02))
    found = log_evidence((model, guide), **call, num_particles=5000, seed=0)
    design = torch.cat([covariate[:, None], torch.eye(6)[group]], 1)
    covariance = design @ design.T + 0.25 * torch.eye(60)
    exact = dist.MultivariateNormal(torch.zeros(60), covariance).log_prob(y).item()
    assert abs(found.total - exact) < 4 * found.mean_standard_error + 0.01
    assert abs(result.metrics[-1]["train_elbo"] - exact) < 1.5
    with refused("data", remedy="args=()"):
        quick((model, guide), y, **call)
    with refused("data", remedy="args=()"):
        quick((model, guide))


def test_programs_without_arguments_and_with_defaults() -> None:
    x = drawn(20, seed=6)

    def closed() -> None:
        Conjugate.model(x)

    def closed_guide() -> None:
        amortised_by(x)

    def amortised_by(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(pyro.param("a", torch.tensor(0.3)) * x, 0.75))

    def optional(x: Tensor | None = None, y: Tensor | None = None) -> None:
        assert x is not None
        Conjugate.model(x)

    exact = Conjugate.log_evidence(x).mean().item()
    adam = partial(Adam, lr=0.02)
    for program, call in (
        ((closed, closed_guide), {"args": ()}),
        ((optional, lambda x=None, y=None: amortised_by(x)), {"data": x}),
    ):
        pyro.clear_param_store()
        result = quick(program, **call, epochs=150, optimizer=adam)
        assert abs(result.metrics[-1]["train_elbo"] - exact) < 0.1
        assert abs(log_evidence(program, **call, seed=0).mean - exact) < 0.05


def test_names_of_arguments_are_a_persons_own() -> None:
    """Also those that an examination has itself."""

    def model(x: Tensor, unit: float, num_rows: int, *, strict: bool) -> None:
        assert strict
        with pyro.plate("data", num_rows):
            z = pyro.sample("z", dist.Normal(0.0, unit))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor, unit: float, num_rows: int, *, strict: bool) -> None:
        with pyro.plate("data", num_rows):
            pyro.sample("z", dist.Normal(pyro.param("a", torch.tensor(0.5)) * x, 0.75))

    x = drawn(20, seed=10)
    kwargs = {"unit": 1.0, "num_rows": 20, "strict": True}
    found = log_evidence((model, guide), args=(x,), kwargs=kwargs, seed=0)
    exact = dist.Normal(0.0, 2**0.5).log_prob(x).mean().item()
    assert abs(found.mean - exact) < 4 * found.mean_standard_error + 0.01
    quick((model, guide), args=(x,), kwargs=kwargs, epochs=1)


@pytest.mark.parametrize("per_row", [False, True])
def test_parameters_of_rows_that_no_fit_has_made(per_row: bool) -> None:
    """They are made as long as the data; one that only happens to be as long as the first rows is not."""

    def guide(x: Tensor) -> None:
        slope = pyro.param("slope", torch.tensor(0.5))
        scales = pyro.param("scales", torch.full((8,), 0.8))
        own = pyro.param("own", torch.zeros(len(x))) if per_row else 0.0
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(slope * x + own, scales.mean()))

    x, exact = torch.linspace(-2, 2, 300), dist.Normal(0.0, 2**0.5)
    found = log_evidence((Conjugate.model, guide), x, num_particles=2000, seed=0)
    assert (errors_off(found, exact.log_prob(x)) < 5).all()
    assert not pyro.get_param_store().keys()


@pytest.mark.parametrize("batch_size", [None, 16])
def test_held_out_rows_count_as_those_whose_latents_they_share(batch_size: int | None) -> None:
    """With the posterior of the training rows for a guide, each draw gives log p(x) of these.

    The validation rows, repeated, are the training rows, so they stand for them exactly.
    """
    example = drawn(10)
    x = example.repeat(4)

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def posterior(_: Tensor) -> None:
        loc = pyro.param("loc", x.sum() / (1 + len(x)))
        pyro.sample("mean", dist.Normal(loc, (1 + len(x)) ** -0.5))

    still = partial(SGD, lr=0.0)
    result = quick(
        (model, posterior), x, validation=example, epochs=3, optimizer=still, batch_size=batch_size
    )
    covariance = torch.eye(len(x)) + torch.ones(len(x), len(x))
    exact = dist.MultivariateNormal(torch.zeros(len(x)), covariance).log_prob(x).item()
    assert result.is_joint
    assert [m["validation_elbo"] for m in result.metrics] == pytest.approx([exact] * 3, rel=1e-5)
    assert "the 10 validation rows stand for all 40, whose latents they share" in result.notes


def test_held_out_rows_of_a_program_that_scales_by_itself_stand_as_they_do() -> None:
    example = drawn(10)
    x = example.repeat(4)

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with poutine.scale(scale=40 / len(x)), pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def guide(_: Tensor) -> None:
        pyro.sample("mean", dist.Normal(pyro.param("loc", torch.tensor(0.1)), 0.1))

    still = partial(SGD, lr=0.0)
    (whole,) = quick((model, guide), x, validation=x, epochs=1, optimizer=still).metrics
    pyro.clear_param_store()
    (part,) = quick((model, guide), x, validation=example, epochs=1, optimizer=still).metrics
    assert part["validation_elbo"] == pytest.approx(whole["validation_elbo"], rel=1e-5)
