"""PixelCNN: the sum over all images, the pixels that each one depends on, draws and fits."""

from functools import partial
from itertools import product
from math import prod
from typing import Any

import pytest
import torch
from controls import GRAPHS
from parts.parts import small
from refused import refused, refused_with
from torch import Tensor

from pyro_vae import fit, log_evidence, posterior, prior_samples, render_model
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.likelihoods import (
    Bernoulli,
    Categorical,
    DiscretizedLogisticMixture,
    NegativeBinomial,
    Normal,
    PixelCNN,
)
from pyro_vae.models import VAE
from pyro_vae.networks.pixels import CausalPixels

tiny = partial(PixelCNN, width=6, num_layers=2, kernel_size=3)
KINDS: dict[str, tuple[Any, int]] = {
    "Bernoulli": (Bernoulli, 2),
    "Categorical": (partial(Categorical, levels=3), 3),
    "Mixture": (partial(DiscretizedLogisticMixture, levels=2, num_components=2), 2),
}
quick: dict[str, Any] = {"progress": False, "device": "cpu"}


def every(shape: tuple[int, ...], levels: int) -> Tensor:
    values = product(torch.linspace(0, 1, levels).tolist(), repeat=prod(shape))
    return torch.tensor(list(values)).reshape(-1, *shape)


def perturbed(shape: tuple[int, ...], kind: Any = Bernoulli, **options: Any) -> PixelCNN:
    """Return a part with perturbed parameters, so that earlier pixels matter."""
    torch.manual_seed(0)
    part = tiny(2, shape, small, likelihood=kind, **options)
    with torch.no_grad():
        for parameter in part.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return part


# --- the density ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 2, 4), (1, 8, 1), (2, 2, 2), (3, 1, 2), (1, 1, 1)])
def test_all_images_together_have_probability_1(kind: str, shape: tuple[int, ...]) -> None:
    make, levels = KINDS[kind]
    with torch.no_grad():
        p = perturbed(shape, make)(3 * torch.randn(4, 1, 2))
        mass = p.log_prob(every(shape, levels)).exp()
    torch.testing.assert_close(mass.sum(1), torch.ones(4), rtol=0, atol=1e-5)
    assert mass.std(1).min() > 0


def test_it_is_the_product_of_what_each_value_has_before_it() -> None:
    """Each value is scored in turn, with random values after it."""
    part, z = perturbed((2, 3, 3)), torch.randn(5, 2)
    x = torch.bernoulli(torch.full((5, 2, 3, 3), 0.5))
    total = torch.zeros(5)
    for row, column, channel in product(range(3), range(3), range(2)):
        seen = torch.zeros(2, 3, 3, dtype=torch.bool)
        seen[:, :row] = True
        seen[:, row, :column] = True
        seen[:channel, row, column] = True
        garbled = torch.where(seen, x, torch.rand_like(x))
        logits = part.network(garbled, part.decoder(z))[:, 0, channel, row, column]
        total += torch.distributions.Bernoulli(logits=logits).log_prob(x[:, channel, row, column])
    torch.testing.assert_close(part(z).log_prob(x), total)


def test_any_batch_and_what_is_expanded() -> None:
    part, z = perturbed((2, 3, 4)), torch.randn(5, 3, 2)
    p = part(z)
    assert (p.batch_shape, p.event_shape) == ((5, 3), (2, 3, 4))
    x = p.sample()
    assert p.support.check(x).all()
    wide = p.expand((7, 5, 3))
    assert wide.sample((2,)).shape == (2, 7, 5, 3, 2, 3, 4)
    torch.testing.assert_close(wide.log_prob(x)[4], p.log_prob(x))
    torch.testing.assert_close(p.log_prob(x)[2, 1], part(z[2, 1]).log_prob(x[2, 1]))
    torch.testing.assert_close(part(z[:, :1]).log_prob(x)[2, 1], part(z[2, 0]).log_prob(x[2, 1]))


@pytest.mark.parametrize("kind", [Normal, NegativeBinomial], ids=lambda kind: kind.__name__)
def test_other_values_learn_their_own_numbers_for_each_channel(kind: Any) -> None:
    part, z = tiny(2, (2, 3, 4), small, likelihood=kind), torch.randn(50, 2)
    p = part(z)
    x = p.sample()
    assert p.support.check(x).all()
    p.log_prob(x).sum().backward()
    assert all(q.grad.isfinite().all() and q.grad.abs().sum() > 0 for q in part.parameters())


# --- what is seen -----------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("shape", [(1, 6, 7), (3, 3, 4)])
def test_a_value_sees_all_before_within_reach_and_nothing_else(
    shape: tuple[int, ...], layers: int
) -> None:
    """The image is larger than the reach, which is 1 + layers pixels."""
    torch.manual_seed(0)
    channels, height, width = shape
    network = CausalPixels(channels, 1, 5, num_layers=layers, kernel_size=3).double()
    x = torch.rand(1, *shape).double()
    context = torch.randn(1, 5, height, width).double()

    jacobian: Any = torch.autograd.functional.jacobian(
        lambda x: network(x, context)[0, 0], x, vectorize=True
    )
    slopes = jacobian[:, :, :, 0].abs()  # (C, H, W) by (C, H, W)
    reach = 1 + layers
    for to in product(*map(range, shape)):
        (k, r, c), moved = to, slopes[to]
        before = torch.zeros(shape, dtype=torch.bool)
        before[:, :r] = True
        before[:, r, :c] = True
        before[:k, r, c] = True
        assert not moved[~before].any(), "it looks ahead"
        near = torch.zeros(height, width, dtype=torch.bool)
        near[max(0, r - reach) : r + 1, max(0, c - reach) : c + reach + 1] = True
        assert (moved[before & near] > 0).all(), "a blind spot"
        far = torch.ones(height, width, dtype=torch.bool)
        far[max(0, r - reach - 1) : r + 1, max(0, c - 2 * reach) : c + reach + 1] = False
        assert not moved[:, far].any(), "further than it says"


def test_every_parameter_gets_a_gradient_and_z_moves_every_pixel() -> None:
    part, z = perturbed((2, 4, 5)), torch.randn(20, 2, requires_grad=True)
    part(z).log_prob(torch.bernoulli(torch.full((20, 2, 4, 5), 0.5))).sum().backward()
    assert all(q.grad.isfinite().all() and q.grad.abs().sum() > 0 for q in part.parameters())
    x = torch.zeros(1, 2, 4, 5)
    logits = part.network(x, part.decoder(torch.zeros(1, 2)))
    assert (part.network(x, part.decoder(torch.ones(1, 2))) != logits).all()


# --- draws ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("Bernoulli", (1, 2, 3)), ("Bernoulli", (3, 1, 2)), ("Categorical", (2, 1, 2))],
)
def test_draws_have_the_right_frequencies(kind: str, shape: tuple[int, ...]) -> None:
    make, levels = KINDS[kind]
    with torch.no_grad():
        p, images = perturbed(shape, make)(2 * torch.randn(2)), every(shape, levels)
        mass = p.log_prob(images).exp().double()
    count = 20_000
    drawn = (p.sample((count,)).flatten(1) * (levels - 1)).long()
    places = levels ** torch.arange(drawn.shape[1] - 1, -1, -1)
    found = torch.bincount(drawn @ places, minlength=len(images)).double()
    often = mass * count > 5
    expected = torch.cat([mass[often], mass[~often].sum()[None]]) * count
    found = torch.cat([found[often], found[~often].sum()[None]])
    kept = expected > 0
    chi_square = ((found - expected).square() / expected)[kept].sum()
    free = int(kept.sum()) - 1
    assert abs(chi_square - free) < 5 * (2 * free) ** 0.5


# --- in a model -------------------------------------------------------------------------------


def test_it_fits_is_drawn_and_knows_its_evidence() -> None:
    """The evidences of all images are probabilities that sum to 1."""
    torch.manual_seed(0)
    vae = VAE((1, 2, 3), 2, likelihood=tiny, encoder=small, decoder=small)
    x = every((1, 2, 3), 2)
    before = {name: p.detach().clone() for name, p in vae.named_parameters()}
    fit(vae, x, epochs=2, batch_size=32, **quick)
    assert all((p != before[name]).any() for name, p in vae.named_parameters())
    half_from_prior = Importance(0.5)  # which bounds the weights, so that all have an error
    found = log_evidence(vae, x, method=half_from_prior, num_particles=3000, seed=0, **quick)
    p = found.log_evidence.exp()
    assert abs(p.sum() - 1) < 5 * (p * found.standard_error).square().sum().sqrt() + 1e-4
    drawn = render_model(vae, (x,)).to_dict()
    assert ["z", "x"] in drawn["model"]["edges"]
    assert not drawn["warnings"]
    drawn = prior_samples(vae, x, num_draws=2, seed=0)
    again = posterior(vae, x, num_draws=2, seed=0).predictive(seed=0)
    for made in (drawn.predictive["x"], again["x"]):
        assert set(made.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(drawn.means["x"], drawn.predictive["x"])


def test_its_step_becomes_a_graph() -> None:
    vae = VAE((2, 3, 2), 2, likelihood=tiny, encoder=small, decoder=small)
    x = torch.zeros(8, 2, 3, 2)
    *_, note = fit(vae, x, epochs=1, batch_size=8, control=GRAPHS, **quick).notes
    assert "run as a graph, without Pyro" in note


def test_it_learns_what_independent_pixels_cannot() -> None:
    """Each pixel is the opposite of the one before, a row's first is random: 4 bits an image of 4 by 3."""
    torch.manual_seed(0)
    first = torch.randint(2, (512, 1, 4, 1))
    x = ((first + torch.arange(3)) % 2).float()
    part = partial(PixelCNN, width=8, num_layers=1, kernel_size=3)
    vae = VAE((1, 4, 3), 1, likelihood=part, encoder=small, decoder=small)
    adam = partial(torch.optim.Adam, lr=2e-2)
    fit(vae, x, epochs=15, batch_size=64, optimizer=adam, **quick)
    found = log_evidence(vae, x[:64], num_particles=200, seed=0, **quick)
    assert -3.0 < found.log_evidence.mean() < -2.6  # -4 log 2 = -2.77; independent: -12 log 2
    drawn = prior_samples(vae, x, num_draws=1, seed=0).predictive["x"][0]
    follows = drawn[..., 1:] != drawn[..., :-1]
    assert follows.float().mean() > 0.97


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4,), (3, 4), (1, 2, 3, 4)])
def test_other_data_than_images_are_refused(shape: tuple[int, ...]) -> None:
    with refused("PixelCNN", expected="images (channels, height, width)"):
        VAE(shape, 2, likelihood=PixelCNN)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"width": 0}, "at least 1"),
        ({"num_layers": 0}, "at least 1"),
        ({"kernel_size": 4}, "an odd number"),
        ({"kernel_size": -1}, "at least 1"),
    ],
)
def test_sizes_that_no_convolution_has(options: dict[str, int], expected: str) -> None:
    with refused(*options, expected=expected):
        PixelCNN(2, (1, 3, 3), small, **options)


def test_grey_values_are_refused_by_fit_and_evidence() -> None:
    x = torch.zeros(300, 1, 3, 3)
    x[-1, 0, 2, 1] = 0.4  # beyond the rows that are looked at first
    vae = VAE((1, 3, 3), 2, likelihood=tiny)
    with refused_with("'x'", "Bernoulli", "--binarize"):
        fit(vae, x, epochs=1, batch_size=100, **quick)
    with refused_with("'x'", "Bernoulli", "--binarize"):
        log_evidence(vae, x, num_particles=1, device="cpu")
    with pytest.raises(ValueError, match="support"):
        vae.likelihood(torch.zeros(2)).log_prob(x[-1])
    levels = VAE((1, 3, 3), 2, likelihood=partial(tiny, likelihood=KINDS["Categorical"][0]))
    with refused_with("3 levels from 0 to 1"):
        fit(levels, x, epochs=1, batch_size=100, **quick)
