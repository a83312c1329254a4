"""Where rows lie: exact posteriors, keys of the file, parts of the data, directions; traversals."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from html_page import whole_table
from posteriors import beta_bernoulli, normal_normal
from refused import refused
from torch import Tensor

from pyro_vae import latents, load, traverse
from pyro_vae.guides import VonMisesFisher
from pyro_vae.inference import Guide
from pyro_vae.inference.latent_space import latents as module
from pyro_vae.models import VAE, FactorAnalysis, MixtureVAE
from pyro_vae.priors import SphericalUniform


@pytest.mark.parametrize("known", [normal_normal(), beta_bernoulli()], ids=str)
def test_mean_sd_and_draws_are_those_of_the_posterior(known) -> None:
    found = latents((known.model, known.wide), known.args, num_particles=4000, num_draws=500)
    ((name, (mean, variance)),) = known.moments.items()
    error = (variance / found.ess).sqrt()
    assert ((found.mean[name] - mean) / error).abs().max() < 4.5
    relative = 3 / found.ess.sqrt()  # of an sd, whose own error is about sd / sqrt(2 ess)
    assert ((found.sd[name] / variance.sqrt() - 1).abs() < 1.5 * relative).all()
    drawn = found.draws[name]
    assert drawn.shape == (500, len(found))
    off = (drawn.mean(0) - mean) / (variance / 500 + error**2).sqrt()
    assert off.abs().max() < 4.5


def test_parts_of_the_data_have_the_figures_of_their_rows(monkeypatch) -> None:
    known = normal_normal()
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 20 * 4000)
    parts = latents((known.model, known.exact), known.args, num_particles=4000)
    mean, variance = known.moments["z"]
    assert parts.mean["z"].shape == (70,)
    assert ((parts.mean["z"] - mean) / (variance / 4000).sqrt()).abs().max() < 4.5
    again = latents((known.model, known.exact), known.args, num_particles=4000)
    assert torch.equal(parts.draws["z"], again.draws["z"])


def test_rows_of_a_split_have_their_keys(tmp_path) -> None:
    path = tmp_path / "t.csv"
    lines = [f"p{i},{i % 7},{(i * 3) % 5},{'ab'[i % 2]}" for i in range(60)]
    path.write_text("\n".join(["name,x,y,kind", *lines]))
    rows = load(str(path), label="kind", id="name", standardize=True).train
    found = latents(FactorAnalysis((2,), 1), rows, num_particles=50)
    assert torch.equal(found.rows, rows.places)
    assert found.ids == rows.ids
    assert found.ids[0] == f"p{int(found.rows[0])}"
    frame = found.to_frame()
    assert list(frame.index) == rows.places.tolist()
    assert list(frame) == ["z[0] mean", "z[0] sd", "ess", "k"]
    assert "p" in str(found)
    cells = whole_table(found._repr_html_())
    assert cells[0] == ["row", "id", "z[0] mean", "z[0] sd", "ess", "k", "class"]


def test_classes_have_probabilities() -> None:
    vae, x = MixtureVAE((6,), 2, 3), torch.rand(8, 6).round()
    found = latents(vae, x, num_particles=50, num_draws=5)
    assert found.mean.keys() == {"z"}
    torch.testing.assert_close(found.probabilities["k"].sum(-1), torch.ones(8).double())
    assert found.draws["k"].shape == (5, 8)
    assert [name for name in found.columns if "k" in name] == ["k = 0", "k = 1", "k = 2", "k"]


def test_a_direction_is_the_difference_of_the_means() -> None:
    """Two groups whose means differ by a known step, with its standard error."""
    n, step = 4000, torch.tensor([1.5, -0.5])
    has = torch.arange(n) % 4 == 0
    x = torch.randn(n, 2) + has.unsqueeze(-1) * step

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 3.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 0.01).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 0.01).to_event(1))

    found = latents((model, guide), x, method=Guide(), num_particles=20)
    direction = found.direction(has, name="tall")
    expected_error = math.sqrt(1 / 1000 + 1 / 3000)
    assert direction.counts == (1000, 3000)
    torch.testing.assert_close(
        direction.standard_error["z"], torch.full((2,), expected_error), rtol=0.1, atol=0
    )
    assert ((direction.step["z"] - step) / expected_error).abs().max() < 4.5
    numbers = found.direction(has.nonzero().squeeze(-1), name="tall")
    assert torch.equal(numbers.step["z"], direction.step["z"])
    assert "tall: 1,000 rows" in str(direction)
    whole_table(direction._repr_html_())


def test_a_direction_of_a_class_leaves_unknown_labels_out() -> None:
    digits = load("digits", binarize="threshold").train.subset(torch.arange(200))
    digits.labels[:50] = -1
    found = latents(VAE((1, 8, 8), 2), digits, num_particles=20)
    direction = found.direction("3")
    known = digits.labels[50:]
    assert direction.counts == (int((known == 3).sum()), int((known != 3).sum()))
    with refused("labelled", expected="one of 0, 1"):
        found.direction("eleven")
    with refused("labelled"):
        found.direction([200])
    with refused("labelled"):
        found.direction([False] * 200)
    with refused("labelled"):
        latents(VAE((6,), 2), torch.rand(9, 6).round(), num_particles=9).direction("3")


def test_a_traversal_takes_the_quantiles_of_the_aggregate_posterior() -> None:
    """z_n = x_n almost exactly, so the quantiles are those of the data; x = z but in column 1, twice."""
    x = torch.randn(2000, 2) * torch.tensor([1.0, 3.0])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 3.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 0.01).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 0.01).to_event(1))

    found = traverse((model, guide), x, row=5, num_steps=5, probability=0.8)
    levels = [0.1, 0.3, 0.5, 0.7, 0.9]
    torch.testing.assert_close(found.levels, torch.tensor(levels).double())
    for move, values, means in zip(found.moves, found.values, found.means["x"], strict=True):
        place = int(move[2])
        expected = torch.from_numpy(np.quantile(x[:, place].numpy(), levels)).float()
        torch.testing.assert_close(values, expected, atol=0.02, rtol=0)
        torch.testing.assert_close(means[:, place], values)
        torch.testing.assert_close(means[:, 1 - place], x[5, 1 - place].expand(5))
    assert "row 5" in str(found)


def test_moves_that_change_the_data_most_come_first() -> None:
    x = torch.randn(300, 3)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
            loc = torch.stack([3 * z[..., 2], 3 * z[..., 2] + z[..., 0], z[..., 0]], -1)
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0).to_event(1))

    found = traverse((model, guide), x)
    assert found.moves == ("z[2]", "z[0]", "z[1]")
    assert found.change[2] == 0
    axes = found.plot().axes
    assert len(axes) == 3
    assert whole_table(found._repr_html_())[0][:4] == ["move", "change", "level", "value"]


def test_a_traversal_goes_along_directions_and_chosen_latents() -> None:
    vae, x = VAE((1, 4, 4), 3), torch.rand(60, 1, 4, 4).round()
    direction = latents(vae, x, num_particles=20).direction(x[:, 0, 0, 0] > 0, name="corner")
    found = traverse(vae, x, 7, directions=[direction], num_steps=3)
    assert set(found.moves) == {"z[0]", "z[1]", "z[2]", "towards corner"}
    start = vae.recognition(x[7:8]).mean[0]
    place = found.moves.index("towards corner")
    assert place == 0  # what was asked for is shown, however many latents there are
    for k, share in enumerate([-1, 0, 1]):
        expected = vae.likelihood(start + share * direction.step["z"]).mean
        torch.testing.assert_close(found.means["x"][place, k], expected, atol=1e-6, rtol=0)
    figure = found.plot()
    assert len(figure.axes) == 1
    assert {text.get_text() for text in figure.axes[0].texts} >= {"z[0]", "5 %", "95 %"}
    with refused("labelled", expected="one for each row"):
        latents(vae, x, num_particles=9).direction(x[:5, 0, 0, 0] > 0)
    other = latents(VAE((6,), 2), torch.rand(9, 6).round(), num_particles=9).direction([1])
    with refused("directions"):
        traverse(vae, x, directions=[other])


def test_wrong_input_is_refused_in_a_sentence() -> None:
    vae, x = VAE((6,), 3), torch.rand(9, 6).round()
    with refused("row", expected="a row from 0 to 8"):
        traverse(vae, x, 9)
    with refused("latents", expected="z"):
        traverse(vae, x, sites=["w"])
    with refused("probability"):
        traverse(vae, x, probability=1.5)
    with refused("num_draws"):
        latents(vae, x, num_draws=0)
    with refused("method"):
        latents(vae, x, method=3)
    sphere = VAE((6,), 4, prior=SphericalUniform, guide=VonMisesFisher)
    with refused("z", remedy="interpolate"):
        traverse(sphere, x)

    def shared(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("mean", dist.Normal(0.0, 0.5))

    with refused("program", remedy="pyro_vae.posterior"):
        latents((shared, guide), torch.randn(5))
    found = latents(vae, x, num_particles=9)
    assert found.code().shape == (9, 3)
    with refused("sites"):
        found.code(["w"])
