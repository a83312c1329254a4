"""Interpolation: what stands at the ends, evidence in closed form, any program, tables, refusals."""

import math
from functools import partial

import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from html_page import whole_table
from posteriors import beta_bernoulli
from pyro.infer.autoguide import AutoNormal
from refused import refused
from torch import Tensor

from pyro_vae import fit, interpolate, latents, load, traverse
from pyro_vae.inference import Spherical, Straight
from pyro_vae.likelihoods import Heterogeneous, HeteroscedasticNormal, Tokens
from pyro_vae.models import (
    GAN,
    VAE,
    Autoencoder,
    ConditionalVAE,
    DeepMarkov,
    FactorAnalysis,
    HierarchicalVAE,
    SemiSupervisedVAE,
    TokenVAE,
)
from pyro_vae.program.prior_guide import with_prior_as_guide

QUICK = {"num_draws": 3, "num_particles": 20, "num_steps": 4}


def test_the_ends_are_the_decoders_mean_at_the_guides_mean() -> None:
    vae, x = VAE((1, 4, 4), 3), torch.rand(300, 1, 4, 4).round()
    found = interpolate(vae, x, 290, 4, **QUICK)
    means = vae.likelihood(vae.recognition(x[[290, 4]]).mean).mean
    torch.testing.assert_close(found.means["x"][[0, -1]], means, atol=1e-6, rtol=0)


def test_the_latents_of_a_hierarchy_are_the_means_one_after_another() -> None:
    vae, x = HierarchicalVAE((6,), (3, 2)), torch.rand(40, 6).round()
    found = interpolate(vae, x, 0, 39, **QUICK)
    z, latents = x[[0, 39]], {}
    for layer, q in vae.recognition(z):
        z = latents[f"z_{layer}"] = q(z).mean
    for name, expected in latents.items():
        torch.testing.assert_close(found.latents[name][[0, -1]], expected, atol=1e-6, rtol=0)
    means = vae.likelihood(latents["z_1"]).mean
    torch.testing.assert_close(found.means["x"][[0, -1]], means, atol=1e-6, rtol=0)


def with_exact_guide(model: FactorAnalysis) -> FactorAnalysis:
    """Give the guide the posterior, so that every weight is log p(x)."""
    exact = model.posterior(torch.zeros(1, *model.data_shape))
    precision = exact.precision_matrix[0].detach()
    weighted = model.loadings.detach() / (2 * model.log_scale.detach()).exp().unsqueeze(-1)
    slope = torch.linalg.solve(precision, weighted.T)
    tril = torch.linalg.cholesky(torch.linalg.inv(precision))
    with torch.no_grad():
        model.regression.weight.copy_(slope)
        model.regression.bias.copy_(-slope @ model.bias)
        model.raw_tril.copy_(tril.tril(-1) + tril.diagonal().log().diag())
    return model


def test_the_evidence_of_a_step_is_the_closed_form() -> None:
    """x' ~ Normal(m_t, D) has E log p(x') = log Normal(m_t; mean, S) - tr(S^-1 D) / 2."""
    model, x = with_exact_guide(FactorAnalysis((3,), 2)), torch.randn(30, 3)
    found = interpolate(
        model, x, 3, 17, num_steps=3, num_draws=4000, num_particles=10, along=Spherical()
    )
    loadings = model.loadings.detach().double()
    noise = (2 * model.log_scale.detach().double()).exp().diag()
    covariance = loadings @ loadings.T + noise
    marginal = dist.MultivariateNormal(model.bias.detach().double(), covariance)
    means = found.latents["z"].double() @ loadings.T + model.bias.detach()
    expected = marginal.log_prob(means) - (torch.linalg.inv(covariance) @ noise).trace() / 2
    torch.testing.assert_close(found.means["x"].double(), means, atol=1e-6, rtol=0)
    off = (found.log_evidence - expected) / found.standard_error
    assert off.abs().max() < 4.5
    prior = dist.Normal(0.0, 1.0).log_prob(found.latents["z"]).sum(-1)
    torch.testing.assert_close(found.log_prior, prior.double(), atol=1e-5, rtol=0)
    rows = model.log_evidence(x[[3, 17]]).detach().double()
    torch.testing.assert_close(
        torch.tensor(found.evidence_of_rows).double(), rows, atol=1e-4, rtol=0
    )


def test_the_same_seed_gives_the_same_bits_and_changes_nothing() -> None:
    vae, x = VAE((6,), 3), torch.rand(40, 6).round()
    before = torch.get_rng_state()
    one, other = (interpolate(vae, x, 2, 5, seed=3, **QUICK) for _ in "ab")
    assert torch.equal(one.log_evidence, other.log_evidence)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(
        one.log_evidence, interpolate(vae, x, 2, 5, seed=4, **QUICK).log_evidence
    )
    # a path of another kind draws by the same noise: its ends have the same evidence
    turned = interpolate(vae, x, 2, 5, seed=3, along=Spherical(), **QUICK)
    assert turned.log_evidence[0] == one.log_evidence[0]


def test_arguments_that_are_not_modelled_are_those_of_the_nearer_row() -> None:
    vae = ConditionalVAE((6,), 3, num_classes=4)
    x, y = torch.rand(20, 6).round(), torch.arange(20) % 4
    found = interpolate(vae, (x, y), 1, 6, **QUICK)
    given = torch.tensor([1, 1, 2, 2])
    expected = vae.decode(found.latents["z"], given).mean
    torch.testing.assert_close(found.means["x"], expected, atol=1e-6, rtol=0)
    assert torch.isfinite(found.log_evidence).all()


def test_classes_are_those_of_the_nearer_row() -> None:
    vae, x = SemiSupervisedVAE((6,), 3, num_classes=3), torch.rand(20, 6).round()
    y = torch.arange(20) % 3
    found = interpolate(vae, (x, y), 0, 4, **QUICK)
    assert found.means["label"].tolist() == [0, 0, 1, 1]
    assert found.latents.keys() == {"z"}
    assert any("'label'" in note for note in found.notes)


def test_sequences_move_all_states_together() -> None:
    model, x = DeepMarkov((5, 4), 2), torch.rand(12, 5, 4).round()
    found = interpolate(model, x, 0, 11, **QUICK)
    assert found.means["x"].shape == (4, 5, 4)
    assert len(found.latents) == 5
    assert torch.isfinite(found.log_evidence).all()
    assert len(found.plot().axes) == 3  # series as an image with time to the right, two figures
    assert "to_frame()" in str(found)


def test_bounded_latents_in_a_plate_of_their_own() -> None:
    """A coin for each row, tossed in a plate on the left, which observes x transposed."""
    known = beta_bernoulli()
    found = interpolate((known.model, known.exact), known.args, 0, 3, **QUICK)
    heads = known.args[0].sum(-1)
    ends = ((2 + heads) / 10)[[0, 3]]
    torch.testing.assert_close(found.latents["p"][[0, -1]], ends)
    torch.testing.assert_close(found.means["x"][0], ends[0].expand(5))
    assert found.log_evidence is None  # x.T is no argument unchanged
    assert found.log_prior is not None
    assert "no evidence" in str(found)


def test_a_guide_with_parameters_for_each_row() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=x)

    x, guide = torch.randn(30, 2), AutoNormal(model)
    fit((model, guide), x, epochs=300, progress=False, seed=0)
    found = interpolate((model, guide), x, 0, 29, **QUICK)
    # E z = x / (1 + 1/4), fitted
    torch.testing.assert_close(found.latents["z"][[0, -1]], x[[0, 29]] / 1.25, atol=0.1, rtol=0)
    torch.testing.assert_close(found.means["x"], found.latents["z"])
    assert found.log_evidence is None
    assert any("no evidence" in note for note in found.notes)


def test_a_frame_and_numbers_without_an_event() -> None:
    """The response of a regression on one latent number: what is not modelled stays."""

    def model(age: Tensor, income: Tensor) -> None:
        with pyro.plate("data", len(age)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("income", dist.Normal(z + age, 1.0), obs=income)

    def guide(age: Tensor, income: Tensor) -> None:
        with pyro.plate("data", len(age)):
            pyro.sample("z", dist.Normal((income - age) / 2, 0.7))

    frame = pd.DataFrame({"age": [0.0, 1.0, 4.0], "income": [2.0, 0.0, 4.0]})
    found = interpolate((model, guide), frame, 0, 1, **QUICK)
    torch.testing.assert_close(found.means["income"][[0, -1]], torch.tensor([1.0, 0.5]))
    # log p(x') of x' ~ Normal(z + age, 1) under Normal(age, sqrt 2): the ages cancel
    assert torch.isfinite(found.log_evidence).all()
    moved = traverse((model, guide), frame, 2, num_steps=3)
    torch.testing.assert_close(moved.means["income"][0], moved.values[0] + 4)
    assert "income" in str(moved)


def test_classes_of_a_likelihood_are_the_most_probable_and_what_has_no_mean_is_drawn() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            logits = torch.stack([z, -z, 0 * z - 5], -1)
            pyro.sample("x", dist.Categorical(logits=logits), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(1.0 - 2.0 * x, 0.7))

    found = interpolate((model, guide), torch.tensor([0, 1, 1]), 0, 2, **QUICK)
    assert found.means["x"].tolist() == [0, 0, 1, 1]
    tokens = TokenVAE((5,), 3, num_tokens=7)
    found = interpolate(tokens, torch.randint(7, (20, 5)), 0, 2, **QUICK)
    assert any("'x' has no mean" in note for note in found.notes)
    again = interpolate(tokens, torch.randint(7, (20, 5)), 0, 2, **QUICK)
    assert found.means["x"].shape == again.means["x"].shape == (4, 5)


def test_what_all_rows_share_stays() -> None:
    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(mean, 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("mean", dist.Normal(0.25, 0.1))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.8 * x, 0.4))

    x = torch.randn(9)
    found = interpolate((model, guide), x, 2, 8, **QUICK)
    torch.testing.assert_close(found.latents["z"][[0, -1]], 0.8 * x[[2, 8]])
    prior = dist.Normal(0.25, 1.0).log_prob(found.latents["z"])
    torch.testing.assert_close(found.log_prior, prior.double(), atol=1e-5, rtol=0)
    assert found.log_evidence is None


def test_a_table_is_in_the_units_and_words_of_its_file(tmp_path) -> None:
    lines = [
        f"{20 + i % 40},{1000 * (1 + i % 7)},{'clerk' if i % 3 else 'cook'}" for i in range(90)
    ]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["age,pay,job", *lines]))
    rows = load(str(path), standardize=True).train
    columns = [HeteroscedasticNormal, HeteroscedasticNormal, partial(Tokens, num_tokens=2)]
    vae = VAE(rows.event_shape, 2, likelihood=partial(Heterogeneous, columns=columns))
    found = interpolate(vae, rows, 0, 5, **QUICK)
    mean = vae.likelihood(found.latents["z"]).mean
    torch.testing.assert_close(found.means["x"], rows.to_original(mean))
    frame = found.to_frame()
    assert list(frame)[-3:] == ["age", "pay", "job"]
    assert set(frame["job"]) <= {"clerk", "cook"}
    assert 15 < frame["age"].mean() < 65
    text = str(found)
    assert "job" in text
    assert "cook" in text or "clerk" in text
    assert whole_table(found._repr_html_())[0][-1] == "job"
    assert len(found.plot().axes) == 6  # three columns, two figures, one empty panel


def test_an_autoencoder_has_a_path_and_no_evidence() -> None:
    program, x = Autoencoder((6,), 2), torch.rand(9, 6).round()
    with refused("z", remedy="evidence=False"):
        interpolate(program, x)
    found = interpolate(program, x, 1, 8, evidence=False)
    code = program.encoder(x[[1, 8]])
    torch.testing.assert_close(found.latents["z"][[0, -1]], code, atol=1e-6, rtol=0)
    assert found.log_prior is None
    assert len(found.plot().axes) == 6
    with refused("z", remedy='method="guide"'):
        latents(program, x)
    codes = latents(program, x, method="guide", num_particles=2).mean["z"]
    torch.testing.assert_close(codes[[1, 8]], code, atol=1e-6, rtol=0)


def test_wrong_input_is_refused_in_a_sentence() -> None:
    alone = with_prior_as_guide(GAN((3,), 2), sums_out=False)  # as a run of a GAN is opened
    with refused("guide", remedy="traverse"):
        interpolate(alone, torch.rand(6, 3), 0, 5)
    vae, x = VAE((6,), 3), torch.rand(9, 6).round()
    with refused("end", expected="a row from 0 to 8"):
        interpolate(vae, x, 0, 9)
    with refused("start"):
        interpolate(vae, x, -1, 2)
    with refused("start"):
        interpolate(vae, x, 0.5, 2)
    with refused("num_steps"):
        interpolate(vae, x, num_steps=1)
    with refused("num_draws"):
        interpolate(vae, x, num_draws=1)
    with refused("evidence"):
        interpolate(vae, x, evidence="yes")

    def clusters(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            infer = {"enumerate": "parallel"}
            k = pyro.sample("k", dist.Categorical(torch.ones(2)), infer=infer)
            pyro.sample("x", dist.Normal(3.0 * k, 1.0), obs=x)

    with refused("program", expected="a continuous latent"):
        interpolate((clusters, lambda x: None), torch.randn(5))

    def shared(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("mean", dist.Normal(0.0, 0.5))

    with refused("program", expected="a continuous latent"):
        interpolate((shared, guide), torch.randn(5))


@pytest.mark.parametrize("along", [Straight(), Spherical()])
def test_pictures_show_images_above_their_figures(along) -> None:
    vae, x = VAE((1, 4, 4), 3), torch.rand(20, 1, 4, 4).round()
    figure = interpolate(vae, x, along=along, **QUICK).plot()
    images, evidence, prior = figure.axes
    assert len(images.images) == 1
    assert "x" in evidence.get_ylabel()
    assert "z" in prior.get_ylabel()
    assert math.isclose(evidence.get_xlim()[1], 3.5)


def test_pictures_of_tables_show_what_changes_first_with_its_words() -> None:
    from pyro_vae import plots
    from pyro_vae.data import Column, Kind

    columns = [
        Column("still"),
        Column("job", Kind.CATEGORY, ("clerk", "cook", "pilot", "smith")),
        Column("sex", Kind.BINARY, ("f", "m")),
    ]
    means = torch.tensor([[1.0, 3.0, 0.2], [1.0, 0.0, 0.4], [1.0, 3.0, 0.9]])
    job, sex, still = plots.path(means, (), columns).axes
    assert [axes.get_title() for axes in (job, sex, still)] == ["job", "sex", "still"]
    assert [tick.get_text() for tick in job.get_yticklabels()] == ["clerk", "smith"]
    assert job.lines[0].get_ydata().tolist() == [1, 0, 1]
    assert sex.lines[0].get_ydata() == pytest.approx([0.2, 0.4, 0.9])  # the probability of "m"


def test_rows_at_one_point_still_show_what_the_model_makes_there() -> None:
    known = beta_bernoulli()
    same = known.args[0].clone()
    same[3] = same[0].flip(0)
    found = interpolate((known.model, known.exact), (same,), 0, 3, **QUICK)
    p = (2 + same[0].sum()) / 10
    torch.testing.assert_close(found.means["x"], p.expand(4, 5))
