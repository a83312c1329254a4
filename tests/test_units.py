"""Parts that compute in the units of data: they learn them from rows, and nothing else depends on them."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from oracles import errors_off
from torch import Tensor, nn

from pyro_vae import InputError, fit, log_evidence, posterior
from pyro_vae.likelihoods import (
    Bernoulli,
    FixedScaleNormal,
    Heterogeneous,
    HeteroscedasticNormal,
    LogNormal,
    Missing,
    NegativeBinomial,
    Normal,
    Poisson,
    StudentT,
    Tokens,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)
from pyro_vae.models import (
    VAE,
    ConditionalVAE,
    DeepMarkov,
    FactorAnalysis,
    FlowDensity,
    SemiSupervisedVAE,
    StateSpace,
)
from pyro_vae.networks import MLP, MaskedInput, Scaled, join
from pyro_vae.priors import VampPrior
from pyro_vae.scaling import Scaling, parts_to_learn

SPREAD = torch.tensor([1e-3, 1.0, 1e5])
PLACE = torch.tensor([-7e-3, 0.5, 3e5])
quick: dict[str, Any] = {"epochs": 3, "progress": False, "device": "cpu"}
quick["optimizer"] = partial(torch.optim.Adam, lr=0.01)


def in_two_units(shape: tuple[int, ...] = (3,)) -> tuple[Tensor, Tensor]:
    """Standard rows, and the same in units of their own: columns' alone, or all values'."""
    x = torch.randn(120, *shape)
    dims = (0,) if len(shape) == 1 else tuple(range(len(shape) + 1))
    x = (x - x.mean(dims, keepdim=True)) / x.var(dims, correction=0, keepdim=True).sqrt()
    return x, (x * SPREAD + PLACE if len(shape) == 1 else 50 * x + 300)


MODELS = {
    "normal": lambda: VAE((3,), 2, likelihood=Normal),
    "heteroscedastic": lambda: VAE((3,), 2, likelihood=HeteroscedasticNormal),
    "student": lambda: VAE((3,), 2, likelihood=StudentT),
    "vamp": lambda: VAE((3,), 2, likelihood=Normal, prior=partial(VampPrior, num_components=7)),
    "factors": lambda: FactorAnalysis((3,), 2),
    "flow": lambda: FlowDensity((3,)),
    "missing": lambda: VAE((3,), 2, likelihood=Missing, encoder=MaskedInput),
    "kalman": lambda: StateSpace((4, 2), 2),
    "markov": lambda: DeepMarkov((4, 2), 2, likelihood=Normal),
    "image": lambda: VAE((1, 3, 4), 2, likelihood=Normal),
}
SHAPES = {"kalman": (4, 2), "markov": (4, 2), "image": (1, 3, 4)}


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_is_the_same_in_any_units(name: str) -> None:
    """...but for the density, whose log takes off that of the units."""
    shape = SHAPES.get(name, (3,))
    standard, raw = in_two_units(shape)
    if name == "kalman":  # whose units are those of each value of a step
        raw = standard = (standard - standard.mean((0, 1))) / standard.flatten(0, 1).std(
            0, correction=0
        )
        raw = 50 * standard + 300
    figures = []
    for x in (standard, raw):
        torch.manual_seed(0)
        model = MODELS[name]()
        result = fit(model, x, **quick)
        figures.append(torch.tensor([m["train_elbo"] for m in result.metrics]).double())
    units = SPREAD.log().sum() if shape == (3,) else torch.tensor(50.0).log() * standard[0].numel()
    torch.testing.assert_close(figures[1] + units.double(), figures[0], rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("likelihood", [Normal, HeteroscedasticNormal, StudentT])
def test_rates_of_thousandths_are_not_taken_for_values_of_size_1(likelihood: Any) -> None:
    standard = in_two_units()[0]
    figures = []
    for spread in (1e-3, 10.0):
        torch.manual_seed(0)
        x = spread * (5 + standard)
        assert (x.max() < 1) == (spread == 1e-3)
        found = fit(VAE((3,), 2, likelihood=likelihood), x, **quick).metrics[-1]["train_elbo"]
        figures.append(found + 3 * math.log(spread))
    assert figures[0] == pytest.approx(figures[1], abs=2e-3)


def test_values_that_fill_the_unit_interval_stay() -> None:
    x = torch.rand(300, 3)
    x[:, 1] = 0.0
    x[7, 1] = 0.02  # a pixel at the margin
    units = Scaling((3,))
    units.learn(x)
    assert units.location.tolist() == [0, 0, 0]
    assert units.scale.tolist() == [1, 1, 1]


@pytest.mark.parametrize("spread", [0.06, 1.5])  # as heights and as incomes
def test_positive_values_are_read_alike_in_any_units(spread: float) -> None:
    figures, logs = [], spread * torch.randn(120, 3)
    for unit in (1e-6, 1.7, 1e3):
        torch.manual_seed(0)
        x = unit * logs.exp()
        found = fit(VAE((3,), 2, likelihood=LogNormal), x, **quick).metrics[-1]["train_elbo"]
        figures.append(found + 3 * math.log(unit))
    assert figures == pytest.approx([figures[0]] * 3, abs=2e-3)


@pytest.mark.parametrize(
    "likelihood", [Poisson, NegativeBinomial, ZeroInflatedPoisson, ZeroInflatedNegativeBinomial]
)
def test_counts_start_at_their_means(likelihood: Any) -> None:
    x = torch.poisson(torch.tensor([0.0, 3.0, 4000.0]).expand(500, 3))
    part = likelihood(2, (3,), decoder=Zero)
    before = part(torch.zeros(1, 2)).mean
    part.learn_scaling(x)
    ratio = (part(torch.zeros(1, 2)).mean / before)[0]
    torch.testing.assert_close(ratio[1:], x.mean(0)[1:], rtol=0.01, atol=0)
    assert ratio[0] < 0.01
    encoder = part.wrap_encoder(MLP)((3,), (2,))
    encoder.learn_scaling(x)
    scaled = encoder.scaled(x)
    assert scaled.abs().max() < 7
    torch.testing.assert_close(scaled[:, 1:].std(0, correction=0), torch.ones(2))


class Zero(nn.Module):
    def __init__(self, in_shape: Any, out_shape: Any) -> None:
        super().__init__()
        self.out_shape = out_shape

    def forward(self, z: Tensor) -> Tensor:
        return z.new_zeros(len(z), *self.out_shape)


def test_counts_of_a_sequencers_depth_have_an_elbo_from_the_first_epoch() -> None:
    profile = torch.distributions.Dirichlet(torch.full((40,), 0.3)).sample((3,))
    depth = torch.distributions.LogNormal(7.6, 0.5).sample((300, 1))
    x = torch.poisson(depth * profile[torch.randint(3, (300,))])
    result = fit(VAE((40,), likelihood=NegativeBinomial), x, batch_size=50, **quick)
    independent = torch.distributions.Poisson(x.mean(0).clamp(min=0.1)).log_prob(x).sum(-1).mean()
    assert result.metrics[0]["train_elbo"] > independent


def test_logs_of_positive_values() -> None:
    x = torch.randn(400, 2).exp() * torch.tensor([1e-3, 1e6])
    part = LogNormal(2, (2,), decoder=Zero)
    part.learn_scaling(x)
    p = part(torch.zeros(1, 2)).base_dist
    torch.testing.assert_close(p.loc[0], x.log().mean(0), rtol=1e-4, atol=1e-4)


def test_each_column_of_a_table_has_its_units() -> None:
    columns = [Normal, Poisson, Bernoulli]
    x = torch.stack([300 + 50 * torch.randn(90), torch.full((90,), 9.0), torch.rand(90).round()], 1)
    x[0] = torch.nan
    vae = VAE(
        (3,), 2, likelihood=partial(Missing, likelihood=partial(Heterogeneous, columns=columns)),
        encoder=MaskedInput,
    )  # fmt: skip
    fit(vae, x, **quick)
    normal, poisson, bernoulli = vae.likelihood.complete.kinds
    torch.testing.assert_close(normal.scaling.location, x[1:, 0].mean()[None])
    torch.testing.assert_close(
        poisson.scaling.location.exp(), torch.tensor([9.0]), rtol=0.1, atol=0
    )
    assert not hasattr(bernoulli, "scaling")
    assert isinstance(vae.recognition.encoder, Scaled)
    assert vae.recognition.encoder.logs.tolist() == [False, True, False]


def test_an_encoder_reads_names_one_by_one_and_gaps_as_gaps() -> None:
    columns = [Normal, *(partial(Tokens, num_tokens=n) for n in (3, 2, 3)), Poisson]
    likelihood = partial(Missing, likelihood=partial(Heterogeneous, columns=columns))
    vae = VAE((5,), 2, likelihood=likelihood, encoder=MaskedInput)
    assert [kind.num_categories for kind in vae.likelihood.complete.kinds] == [0, 3, 2, 0]
    assert vae.likelihood.complete.places == [
        [0],
        [1, 3],
        [2],
        [4],
    ]  # like columns share a likelihood
    nan = torch.nan
    x = torch.tensor([[5.0, 2.0, 0.0, 1.0, 0.0], [nan, 0.0, nan, nan, nan]])
    encoder = vae.recognition.encoder
    expected = torch.tensor(
        [[5.0, 0, 0, 1, 1, 0, 0, 1, 0, 0], [nan, 1, 0, 0, nan, nan, nan, nan, nan, nan]]
    )
    torch.testing.assert_close(encoder.scaled(x), expected, equal_nan=True)
    assert log_evidence(vae, x, num_particles=10).log_evidence.isfinite().all()


def test_what_lies_between_0_and_1_or_never_varies() -> None:
    units = Scaling((2,))
    units.learn(torch.rand(9, 2).where(torch.eye(9, 2) == 0, torch.nan))
    assert units.location.tolist() == [0, 0]
    assert units.scale.tolist() == [1, 1]
    units = Scaling((2,))
    units.learn(torch.tensor([[7.0, torch.nan], [7.0, torch.nan]]))
    assert units.location.tolist() == [7, 0]
    assert units.scale.tolist() == [1, 1]


def test_they_are_learnt_once_and_kept(tmp_path: Any) -> None:
    _, raw = in_two_units()
    vae = VAE((3,), 2, likelihood=Normal)
    fit(vae, raw, **quick)
    kept = [b.clone() for b in vae.buffers()]
    fit(vae, 1.1 * raw, **quick)
    for before, after in zip(kept, vae.buffers(), strict=True):
        torch.testing.assert_close(before, after)
    state = vae.state_dict()
    other = VAE((3,), 2, likelihood=Normal)
    other.load_state_dict(state)
    ours, theirs = (posterior(program, raw, num_draws=20, seed=0) for program in (vae, other))
    torch.testing.assert_close(theirs.means["z"], ours.means["z"])


def test_the_exact_evidence_is_that_of_the_raw_values() -> None:
    _, raw = in_two_units()
    model = FactorAnalysis((3,), 1)
    fit(model, raw, **quick)
    found = log_evidence(model, raw, num_particles=5000, seed=0)
    assert (errors_off(found, model.log_evidence(raw).detach()) < 5).all()
    exact = log_evidence(model, raw, method="exact")
    torch.testing.assert_close(
        exact.log_evidence, model.log_evidence(raw).double(), rtol=1e-5, atol=1e-4
    )


def test_frozen_parts_stay_as_they_are() -> None:
    model = VAE((3,), 2, likelihood=Normal)
    model.likelihood.requires_grad_(False)
    fit(model, in_two_units()[1], **quick)
    assert not model.likelihood.scaling.is_learnt
    assert model.recognition.encoder.scaling.is_learnt


def test_a_part_of_ones_own_learns_too() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("top", torch.zeros(()))

        def learn_scaling(self, x: Tensor) -> None:
            self.top.copy_(x.max())

    class Program(VAE):
        """Whose likelihood of zeros and ones has no units."""

        def __init__(self) -> None:
            super().__init__((3,), 2)
            self.own = nn.Sequential(Own())

    program, x = Program(), torch.ones(4, 3)
    fit(program, x, **quick)
    assert program.own[0].top == 1
    assert [*parts_to_learn(program)] == [program.own[0]]
    assert not [*parts_to_learn(MLP((3,), (2,)))]


def started(model: Any, data: Any, **options: Any) -> VampPrior:
    """The prior of a model that a fit has begun to train, and no more."""
    still = partial(torch.optim.SGD, lr=0.0)
    fit(model, data, epochs=1, optimizer=still, progress=False, device="cpu", **options)
    return model.prior


SEVEN = partial(VampPrior, num_components=7)


def test_a_vamp_prior_starts_from_rows_of_a_first_fit() -> None:
    x = torch.rand(50, 1, 4, 4).round()
    priors = [started(VAE((1, 4, 4), 2, prior=SEVEN), x, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (prior.pseudo_inputs.detach().flatten(1) for prior in priors)
    assert {*map(tuple, first.tolist())} <= {*map(tuple, x.flatten(1).tolist())}
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    vae = VAE((1, 4, 4), 2, prior=SEVEN)
    vae.prior.start_from(x[:7])
    chosen = vae.prior.pseudo_inputs.detach()
    assert torch.equal(started(vae, x).pseudo_inputs, chosen)  # as somebody has chosen
    with pytest.raises(InputError) as caught:
        started(VAE((1, 4, 4), 2, prior=partial(VampPrior, num_components=51)), x)
    assert "51" in str(caught.value)


@pytest.mark.parametrize("kind", [ConditionalVAE, SemiSupervisedVAE])
def test_with_labels_it_starts_from_what_the_guide_reads(kind: Any) -> None:
    x, y = torch.rand(50, 5).round(), torch.arange(50) % 3
    model = kind((5,), 2, num_classes=3, prior=SEVEN)
    inputs = started(model, (x, y)).pseudo_inputs
    known = join(model.features(x), model.condition(y))
    apart = (inputs.unsqueeze(1) - known).norm(dim=-1)
    assert apart.min(1).values.max() < 1e-5 < 100 * apart.median()


def test_gaps_are_filled_in_where_it_starts() -> None:
    x = torch.where(torch.rand(50, 3) < 0.3, torch.nan, 40 + torch.randn(50, 3))
    vae = VAE((3,), 2, prior=SEVEN, likelihood=Missing, encoder=MaskedInput)
    inputs = started(vae, x).pseudo_inputs
    apart = (inputs.unsqueeze(1) - x).abs()  # of each from each row
    assert apart.nan_to_num(0).amax(-1).amin(1).max() < 1e-4  # a row, but for its gaps
    assert apart.nan_to_num(torch.inf).amin(1).max() < 1e-4  # which have a value of their column


def test_fixed_scales_are_in_the_datas_units() -> None:
    part = FixedScaleNormal(2, (3,), decoder=Zero, scale=0.25)
    _, raw = in_two_units()
    part.learn_scaling(raw)
    p = part(torch.zeros(1, 2)).base_dist
    torch.testing.assert_close(p.loc[0], raw.mean(0))
    assert (p.scale == 0.25).all()


TABLE = VAE((2,), 2, likelihood=partial(Heterogeneous, columns=[Normal, Poisson]))


@pytest.mark.parametrize(
    ("model", "shape", "name"),
    [
        (StateSpace((7, 3), 2), (5,), "(7, 3)"),
        (FactorAnalysis((3,), 1), (5,), "guide"),
        (
            VAE((2,), 2, likelihood=partial(Heterogeneous, columns=[Normal, Poisson])),
            (5, 1),
            "Scaled",
        ),
        (VAE((3,), 2, likelihood=Normal), (5, 4), "Scaled"),
    ],
)
def test_data_of_another_shape_are_refused(model: Any, shape: Any, name: str) -> None:
    with pytest.raises(InputError) as caught:
        fit(model, torch.randn(shape), **quick)
    assert name in str(caught.value)


def test_what_lies_outside_of_a_transformed_support_is_said_of_it() -> None:
    with pytest.raises(InputError) as caught:
        fit(VAE((3,), 2, likelihood=LogNormal), -torch.rand(5, 3), **quick)
    assert all(name in str(caught.value) for name in ("support", "LogNormal", "GreaterThan"))


@pytest.mark.parametrize("gaps", [False, True])
def test_a_value_that_cannot_be_is_named_with_its_column(gaps: bool) -> None:
    columns = [Normal, partial(Tokens, num_tokens=3), Poisson]
    likelihood, options = partial(Heterogeneous, columns=columns), {}
    if gaps:
        likelihood, options = partial(Missing, likelihood=likelihood), {"encoder": MaskedInput}
    vae = VAE((3,), 2, likelihood=likelihood, **options)
    x = torch.tensor([[0.5, 1.0, 3.0], [-0.5, 2.0, 0.0]])
    x[0, 0] = torch.nan if gaps else 0.5
    assert log_evidence(vae, x, num_particles=3).log_evidence.isfinite().all()
    for column, value, details in ((2, 0.5, ("Poisson",)), (1, 3.0, ("0 to 2", "3"))):
        wrong = x.clone()
        wrong[1, column] = value
        with pytest.raises(InputError) as caught:
            log_evidence(vae, wrong, num_particles=3)
        assert all(part in str(caught.value) for part in (f"column {column}", *details))
