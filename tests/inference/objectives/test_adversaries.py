"""Adversaries: losses and penalties by their formulas, each side's gradient by another route, and fits."""

from functools import partial
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from torch import Tensor, nn
from torch.optim import SGD, Adam

from pyro_vae import checkpoint, fit, log_evidence, posterior, prior_samples, restore
from pyro_vae.guides import Implicit, MeanFieldNormal
from pyro_vae.inference import Annealed
from pyro_vae.inference.objectives import (
    AAE,
    AVB,
    R1,
    R1R2,
    VAEGAN,
    Adversarial,
    AdversarialLoss,
    BiGAN,
    GradientPenalty,
    Hinge,
    LeastSquares,
    LogRatio,
    NonSaturating,
    Penalty,
    Relativistic,
    Wasserstein,
)
from pyro_vae.inference.objectives.adversarial_notes import verdict
from pyro_vae.inference.objectives.penalties import Judged
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.likelihoods import Bernoulli, FixedScaleNormal
from pyro_vae.models import GAN, VAE, ConditionalVAE
from pyro_vae.networks import MLP, SpectralNorm

small = partial(MLP, hidden_dims=(8,))
X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
quick: Any = partial(fit, batch_size=20, progress=False, device="cpu", compile="off")


def log_sigmoid(x: float) -> float:
    return float(-np.log1p(np.exp(-x)))


# --- losses and penalties ---------------------------------------------------------------------

FORMULAS: list[tuple[AdversarialLoss, Any, Any]] = [
    (
        NonSaturating(),
        lambda r, f: -log_sigmoid(r) - log_sigmoid(-f),
        lambda r, f: -log_sigmoid(f),
    ),
    (LogRatio(), lambda r, f: -log_sigmoid(r) - log_sigmoid(-f), lambda r, f: -f),
    (Hinge(), lambda r, f: max(0, 1 - r) + max(0, 1 + f), lambda r, f: -f),
    (LeastSquares(), lambda r, f: ((r - 1) ** 2 + (f + 1) ** 2) / 2, lambda r, f: (f - 1) ** 2 / 2),
    (Wasserstein(), lambda r, f: f - r, lambda r, f: -f),
    (Relativistic(), lambda r, f: -log_sigmoid(r - f), lambda r, f: -log_sigmoid(f - r)),
]


@pytest.mark.parametrize("players", FORMULAS, ids=lambda x: type(x[0]).__name__)
def test_each_loss_is_its_formula_and_its_gradient(players: Any) -> None:
    loss, *sides = players
    r, f = (torch.randn(20, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for method, formula in zip((loss.discriminator, loss.generator), sides, strict=True):
        found = method(r, f)
        pairs = list(zip(r.tolist(), f.tolist(), strict=True))
        expected = torch.tensor([formula(*pair) for pair in pairs], dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        slopes = torch.autograd.grad(found.sum(), (r, f), allow_unused=True)
        step = 1e-6
        for place, slope in enumerate(slopes):
            moved = [
                (formula(a + step * (place == 0), b + step * (place == 1))
                 - formula(a - step * (place == 0), b - step * (place == 1))) / (2 * step)
                for a, b in pairs
            ]  # fmt: skip
            slope = torch.zeros(20) if slope is None else slope
            torch.testing.assert_close(
                slope.double(), torch.tensor(moved).double(), atol=1e-6, rtol=0
            )


@pytest.mark.parametrize("penalty", [R1(3.0), R1R2(3.0), GradientPenalty(3.0)])
def test_each_penalty_is_its_formula_and_its_gradient(penalty: Penalty) -> None:
    """D(x) = x' A x / 2 with a symmetric A has slope A x, and the gradient by A is known."""
    a = torch.tensor([[1.0, 0.3], [0.3, -0.5]], dtype=torch.float64, requires_grad=True)
    x, made = (torch.randn(6, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def judge(rows: Any) -> Tensor:
        return torch.einsum("ni,ij,nj->n", rows[0], a, rows[0]) / 2

    torch.manual_seed(0)
    found = penalty(judge, Judged([x], judge([x])), Judged([made], judge([made])))
    torch.manual_seed(0)
    share = torch.rand(6, dtype=torch.float64).unsqueeze(1)

    def formula(matrix: Tensor) -> Tensor:
        def square(
            y: Tensor,
        ) -> Tensor:  # the slope of y' A y / 2 is the symmetric part of A times y
            return (y.detach() @ (matrix + matrix.T) / 2).square().sum(1)

        if isinstance(penalty, GradientPenalty):
            return 3.0 * (square(share * x + (1 - share) * made).sqrt() - 1).square()
        return 1.5 * (square(x) + (square(made) if isinstance(penalty, R1R2) else 0))

    torch.testing.assert_close(found, formula(a))
    (slope,) = torch.autograd.grad(found.sum(), a)
    moved = torch.zeros(2, 2, dtype=torch.float64)
    for i in range(2):
        for j in range(2):
            step = torch.zeros(2, 2, dtype=torch.float64)
            step[i, j] = 1e-6
            up, down = formula(a.detach() + step).sum(), formula(a.detach() - step).sum()
            moved[i, j] = (up - down) / 2e-6
    torch.testing.assert_close(slope, moved, rtol=1e-6, atol=1e-6)


# --- each side's gradient by another route ----------------------------------------------------


class Story(nn.Module):
    """z ~ Normal(0, 1), x ~ Normal(W z, 0.5); guide q(z | x) = Normal(A x, 0.3)."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[0.5, 1.0], [-1.0, 0.2], [0.3, 0.7]]))
        self.a = nn.Parameter(torch.tensor([[1.0, 0.2, -0.5], [0.9, 0.3, -0.7]]))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.w.T, 0.5).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x @ self.a.T, 0.3).to_event(1))


def gradients(value: Tensor, of: nn.Module) -> list[Tensor]:
    found = torch.autograd.grad(value, [*of.parameters()], retain_graph=True, allow_unused=True)
    return [
        torch.zeros_like(p) if g is None else g for g, p in zip(found, of.parameters(), strict=True)
    ]


def z_of_guide(program: Story) -> Tensor:
    return dist.Normal(X @ program.a.T, 0.3).to_event(1).rsample()


def log_likelihood(program: Story, z: Tensor) -> Tensor:
    return dist.Normal(z @ program.w.T, 0.5).to_event(1).log_prob(X)


def normal(*shape: int) -> Tensor:
    return dist.Normal(torch.zeros(*shape), 1.0).sample()


def adversarial(program: Story, d: Any) -> tuple[Any, Any, Any]:
    z = normal(40, 2)
    x = dist.Normal(z @ program.w.T, 0.5).rsample()
    return (X,), (x,), 0.0


def aae(program: Story, d: Any) -> tuple[Any, Any, Any]:
    z = z_of_guide(program)
    prior = dist.Normal(torch.zeros(40, 2), 1.0).rsample()
    return (prior,), (z,), log_likelihood(program, z)


def avb(program: Story, d: Any) -> tuple[Any, Any, Any]:
    (prior,), (z,), reward = aae(program, d)
    return (torch.cat([X, prior], 1),), (torch.cat([X, z], 1),), reward


def bigan(program: Story, d: Any) -> tuple[Any, Any, Any]:
    z = normal(40, 2)
    x = dist.Normal(z @ program.w.T, 0.5).rsample()
    q = z_of_guide(program)
    return (torch.cat([X, q], 1),), (torch.cat([x, z], 1),), 0.0


@pytest.mark.parametrize(
    ("elbo", "weight", "route"),
    [
        (Adversarial(Relativistic(), R1(2.0), small), 1.0, adversarial),
        (AAE(3.0, LeastSquares(), R1(2.0), small), 3.0, aae),
        (AVB(R1(2.0), small), 1.0, avb),
        (BiGAN(NonSaturating(), R1(2.0), small), 1.0, bigan),
    ],
    ids=lambda x: type(x).__name__,
)
def test_each_side_has_its_own_gradient(elbo: Any, weight: float, route: Any) -> None:
    program = Story()
    torch.manual_seed(3)
    elbo = elbo.planned(program, X)
    d = elbo.discriminator
    pyro.set_rng_seed(1)
    loss = elbo.differentiable_loss(program.model, program.guide, X)
    pyro.set_rng_seed(1)
    real, made, reward = route(program, d)
    r, f = d(real), d(made)
    players, own = elbo.players, elbo.players.generator(r, f)
    if isinstance(elbo, BiGAN):
        own = own + players.generator(-f, -r)
    objective = torch.as_tensor(reward).sum() - weight * own.sum()
    held = [x.detach().requires_grad_() for x in real]
    logits = d(held)
    slopes = torch.autograd.grad(logits.sum(), held, create_graph=True)
    cost = players.discriminator(logits, d([x.detach() for x in made]))
    cost = cost + slopes[0].square().sum(1)  # R1(2)

    assert float(loss.detach()) == pytest.approx(-float(objective.detach()), rel=1e-5)
    for of, expected in ((program, -objective), (d, cost.sum())):
        for one, other in zip(gradients(loss, of), gradients(expected, of), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    pyro.set_rng_seed(1)
    assert elbo.loss(program.model, program.guide, X) == pytest.approx(
        float(loss.detach()), rel=1e-5
    )


def test_of_a_vae_gan_the_guide_has_the_likelihood_alone() -> None:
    """The generator's loss moves the decoder, at draws of the guide and of the prior."""
    program, weight = Story(), 2.0
    torch.manual_seed(3)
    elbo: Any = VAEGAN(weight, Hinge(), discriminator=small, num_features=4).planned(program, X)
    features, head = elbo.discriminator.network[0], elbo.discriminator.network[1:]
    pyro.set_rng_seed(1)
    loss = elbo.differentiable_loss(program.model, program.guide, X)
    pyro.set_rng_seed(1)
    q = dist.Normal(X @ program.a.T, 0.3).to_event(1)
    z = q.rsample()
    prior = normal(40, 2)
    near = dist.Normal(features(z @ program.w.T), 1.0).log_prob(features(X)).sum()
    kl = (q.log_prob(z) - dist.Normal(0.0, 1.0).log_prob(z).sum(1)).sum()
    made = torch.cat([z.detach(), prior]) @ program.w.T
    f = head(features(made))[:, 0]
    objective = near - kl + weight * f.sum() / 2
    cost = (
        torch.relu(1 - head(features(X))).sum()
        + torch.relu(1 + head(features(made.detach()))).sum() / 2
    )
    assert float(loss.detach()) == pytest.approx(-float(objective.detach()), rel=1e-5)
    for of, expected in ((program, -objective), (elbo.discriminator, cost)):
        for one, other in zip(gradients(loss, of), gradients(expected, of), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


# --- a program without a guide ----------------------------------------------------------------


class Generator(nn.Module):
    """A user's own: x = tanh(W z) with a little noise."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3))

    def model(self, x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.net(z), 0.1).to_event(1), obs=x)


def test_a_model_alone_stays_alone(tmp_path) -> None:
    torch.manual_seed(0)
    own = Generator()
    result = quick(own, X, validation=X, epochs=2, elbo=Adversarial(), out=tmp_path)
    assert result.program is own
    assert not hasattr(own, "guide")
    assert "not used" in " ".join(result.notes)
    assert result.best_epoch is None
    assert "validation" not in " ".join(result.metrics[0])
    evidence = log_evidence(own, X[:3], method=Annealed(20, start="prior"), seed=0, device="cpu")
    assert evidence.log_evidence.isfinite().all()
    assert prior_samples(own, X, num_draws=2, seed=0).predictive["x"].shape == (2, 40, 3)
    again = restore(Generator(), tmp_path)
    for one, other in zip(own.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    tensors, _ = checkpoint.read(tmp_path / "checkpoint.safetensors")
    assert any(name.startswith("model/objective/discriminator.") for name in tensors)
    assert not any("guide" in name for name in tensors)


def test_with_an_elbo_a_gan_gets_a_guide() -> None:
    result = quick(GAN((3,), 2, generator=small, scale=0.5), X, epochs=1)
    assert posterior(result.program, X[:4], num_draws=3, seed=0).num_draws == 3


def test_a_guide_without_a_density_is_not_validated() -> None:
    parts = {"likelihood": partial(FixedScaleNormal, scale=0.5), "encoder": small, "decoder": small}
    for guide, is_scored in ((Implicit, False), (MeanFieldNormal, True)):
        vae = VAE((3,), 2, guide=guide, **parts)
        for elbo in (AVB(discriminator=small), BiGAN(discriminator=small)):
            result = quick(vae, X, validation=X, epochs=1, elbo=elbo)
            assert ("validation_elbo" in result.metrics[0]) == is_scored
            assert any("not used" in note for note in result.notes) != is_scored
    with refused("z"):
        log_evidence(VAE((3,), 2, guide=Implicit, **parts), X, seed=0, device="cpu")


def test_it_says_what_is_happening(tmp_path) -> None:
    torch.manual_seed(0)
    gan, images = GAN((1, 4, 4), 2, generator=small), torch.rand(40, 1, 4, 4)
    result = quick(gan, images, epochs=3, elbo=Adversarial(discriminator=small), out=tmp_path)
    names = {"generator_loss", "discriminator_loss", "generator_gradient", "told_apart", "coverage"}
    assert names <= result.metrics[0].keys()
    assert result.verdict in str(result)
    assert "discriminator tells" in result.verdict or "has won" in result.verdict
    sheets = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert sheets == ["epoch_0001.png", "epoch_0002.png", "epoch_0003.png"]


@pytest.mark.parametrize(
    ("told", "near", "words"),
    [
        (1.0, 0.9, "has won"),
        (0.7, 0.2, "collapsed"),
        (0.5, float("nan"), "generator is ahead"),
        (0.7, 0.9, "neither"),
    ],
)
def test_its_verdict(told: float, near: float, words: str) -> None:
    assert words in verdict([{"told_apart": told, "coverage": near}] * 30)


def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path) -> None:
    elbo = Adversarial(
        Relativistic(),
        R1R2(),
        partial(SpectralNorm, network=small),
        discriminator_steps=3,
        discriminator_options={"lr": 0.003, "betas": (0.0, 0.9)},
    )

    def run(out: Any, **options: Any) -> Any:
        torch.manual_seed(0)
        gan = GAN((3,), 2, generator=small)
        return gan, quick(gan, X, epochs=4, batch_size=16, elbo=elbo, out=out, **options)

    whole, result = run(tmp_path / "whole")
    run(tmp_path / "part", control=RunControl(stop_after=7))
    again, resumed = run(tmp_path / "part", resume=True)
    assert resumed.metrics == result.metrics
    for one, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    ended = [
        checkpoint.read(tmp_path / name / "checkpoint.safetensors")[0] for name in ("whole", "part")
    ]
    assert ended[0].keys() == ended[1].keys()
    assert all(torch.equal(ended[0][name], ended[1][name]) for name in ended[0])


def test_the_program_takes_one_of_so_many_steps_and_the_discriminator_has_options_of_its_own(
    tmp_path,
) -> None:
    """Of four steps, the third is the program's, or none."""
    for steps, program_moves in ((3, True), (5, False)):
        torch.manual_seed(0)
        gan = GAN((3,), 2, generator=small)
        elbo = Adversarial(discriminator=small, discriminator_steps=steps)
        before = [p.detach().clone() for p in gan.parameters()]
        quick(gan, X, epochs=2, elbo=elbo, optimizer=partial(SGD, lr=0.1))
        moved = [not torch.equal(p, b) for p, b in zip(gan.parameters(), before, strict=True)]
        assert any(moved) == program_moves
    torch.manual_seed(0)
    gan = GAN((3,), 2, generator=small)
    still = Adversarial(discriminator=small, discriminator_options={"lr": 0.0})
    for epochs in (1, 2):
        torch.manual_seed(0)
        gan = GAN((3,), 2, generator=small)
        quick(
            gan,
            X,
            epochs=epochs,
            elbo=still,
            optimizer=partial(Adam, lr=0.1),
            out=tmp_path / str(epochs),
        )
    one, two = (checkpoint.read(tmp_path / e / "checkpoint.safetensors")[0] for e in ("1", "2"))
    own = [name for name in one if name.startswith("model/")]
    assert all(torch.equal(one[n], two[n]) for n in own if "/objective/" in n)
    assert any(not torch.equal(one[n], two[n]) for n in own if "/objective/" not in n)


def test_conditions_are_read_by_both_sides() -> None:
    """x is the label plus noise: only a discriminator that reads the label learns it to the generator."""
    torch.manual_seed(0)
    y = torch.arange(200) % 2
    x = 4.0 * y.unsqueeze(1) - 2 + 0.3 * torch.randn(200, 1)
    cvae = ConditionalVAE(
        (1,),
        1,
        num_classes=2,
        likelihood=partial(FixedScaleNormal, scale=0.3),
        encoder=small,
        decoder=small,
        head=small,
    )
    with refused("num_classes", remedy="num_classes"):
        quick(cvae, (x, y), epochs=1, elbo=Adversarial())
    elbo = Adversarial(Relativistic(), R1R2(0.1), small, num_classes=2)
    quick(
        cvae,
        (x, y),
        epochs=60,
        elbo=elbo,
        batch_size=100,
        optimizer=partial(Adam, lr=0.01, betas=(0.0, 0.9)),
    )
    drawn = prior_samples(cvae, (x, y), num_draws=20, seed=0, device="cpu").predictive["x"]
    means = [float(drawn[:, y == label].mean()) for label in (0, 1)]
    assert means[0] < -1
    assert means[1] > 1


# --- what is refused --------------------------------------------------------------------------


def test_what_is_refused() -> None:
    binary = (X > 0).float()
    vae = VAE((3,), 2, likelihood=Bernoulli, encoder=small, decoder=small)
    with refused("x", remedy="FixedScaleNormal"):
        quick(vae, binary, epochs=1, elbo=Adversarial())
    quick(vae, binary, epochs=1, elbo=Adversarial(with_noise=False))

    def wide(in_shape: Any, out_shape: Any) -> Any:
        return MLP(in_shape, (2,))

    gan = GAN((3,), 2, generator=small)
    with refused("discriminator", expected="(20, 1)"):
        quick(gan, X, epochs=1, elbo=Adversarial(discriminator=wide))
    for options in ({"beta": 2.0}, {"kl_warmup": 1.0}):
        with refused("Adversarial", remedy="beta"):
            quick(gan, X, epochs=1, elbo=Adversarial(), **options)
    with refused("restarts", remedy="Annealed"):
        quick(gan, X, epochs=1, elbo=Adversarial(), restarts=2)
    with refused("discriminator_options"):
        quick(gan, X, epochs=1, elbo=Adversarial(discriminator_options={"learning_rate": 1.0}))
    with refused("loss", expected="AdversarialLoss"):
        Adversarial(loss=Hinge)  # type: ignore[arg-type]
    with refused("weight"):
        R1(-1.0)

    def model(x: Tensor) -> None:
        loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0).expand([3]).to_event(1), obs=x)

    with refused("Adversarial", remedy="plate"):
        quick(model, X, epochs=1, elbo=Adversarial())
