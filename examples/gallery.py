"""Draw the plate diagrams of two dozen programs: ``python examples/gallery.py [FOLDER]``.

Each program is written as a user would write it. FOLDER, by default ``gallery``, gets an SVG and a PNG of
each. The docstrings name the sources of the classics.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from torch import Tensor, nn

from pyro_vae.graph import ModelGraph, render_model
from pyro_vae.models import VAE, FactorAnalysis

GALLERY: dict[str, Callable[[], ModelGraph]] = {}


def picture(draw: Callable[[], ModelGraph]) -> Callable[[], ModelGraph]:
    """Add a picture to the gallery, under its function's name."""
    GALLERY[draw.__name__] = draw
    return draw


def mlp(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 64), nn.Softplus(), nn.Linear(64, outputs))


@picture
def vae() -> ModelGraph:
    return render_model(VAE((1, 28, 28), 20), (torch.zeros(64, 1, 28, 28),))


@picture
def factor_analysis() -> ModelGraph:
    return render_model(FactorAnalysis((10,), 3), (torch.zeros(50, 10),))


class ConditionalVAE(nn.Module):
    """K. Sohn, H. Lee, X. Yan, "Learning structured output representation", 2015."""

    def __init__(self) -> None:
        super().__init__()
        self.prior = mlp(10, 2 * 8)
        self.decoder = mlp(8 + 10, 100)
        self.encoder = mlp(100 + 10, 2 * 8)

    def model(self, y: Tensor, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc, scale = self.prior(y).chunk(2, -1)
            z = pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))
            logits = self.decoder(torch.cat([z, y], -1))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(self, y: Tensor, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc, scale = self.encoder(torch.cat([x, y], -1)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


@picture
def conditional_vae() -> ModelGraph:
    return render_model(ConditionalVAE(), (torch.zeros(32, 10), torch.zeros(32, 100)))


class SemiSupervisedVAE(nn.Module):
    """D. P. Kingma, D. J. Rezende, S. Mohamed, M. Welling, "Semi-supervised learning", 2014, M2."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = mlp(8 + 10, 100)
        self.encoder_y = mlp(100, 10)
        self.encoder_z = mlp(100 + 10, 2 * 8)

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(8), 1.0).to_event(1))
            y = pyro.sample("y", dist.OneHotCategorical(torch.ones(10) / 10), obs=y)
            logits = self.decoder(torch.cat([z, y.expand(len(x), 10)], -1))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        with pyro.plate("data", len(x)):
            if y is None:
                y = pyro.sample("y", dist.OneHotCategorical(logits=self.encoder_y(x)))
            loc, scale = self.encoder_z(torch.cat([x, y], -1)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


@picture
def semi_supervised_vae() -> ModelGraph:
    x, y = torch.zeros(32, 100), torch.zeros(32, 10)
    return render_model(SemiSupervisedVAE(), [(x, y), (x,)])


class HierarchicalVAE(nn.Module):
    """Two layers of latents; the guide runs from the data up and back down."""

    def __init__(self) -> None:
        super().__init__()
        self.middle, self.decoder = mlp(4, 2 * 16), mlp(16, 100)
        self.encoder, self.top, self.bottom = mlp(100, 32), mlp(32, 2 * 4), mlp(32 + 4, 2 * 16)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(torch.zeros(4), 1.0).to_event(1))
            loc, scale = self.middle(z2).chunk(2, -1)
            z1 = pyro.sample("z1", dist.Normal(loc, scale.exp()).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z1)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            h = self.encoder(x)
            loc, scale = self.top(h).chunk(2, -1)
            z2 = pyro.sample("z2", dist.Normal(loc, scale.exp()).to_event(1))
            loc, scale = self.bottom(torch.cat([h, z2], -1)).chunk(2, -1)
            pyro.sample("z1", dist.Normal(loc, scale.exp()).to_event(1))


@picture
def hierarchical_vae() -> ModelGraph:
    return render_model(HierarchicalVAE(), (torch.zeros(32, 100),))


@picture
def mixture() -> ModelGraph:
    def model(x: Tensor) -> None:
        weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
        with pyro.plate("components", 3):
            locs = pyro.sample("locs", dist.Normal(0.0, 10.0))
            scales = pyro.sample("scales", dist.LogNormal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(weights), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(locs[k], scales[k]), obs=x)

    return render_model(model, (torch.zeros(100),))


class DeepMarkovModel(nn.Module):
    """R. G. Krishnan, U. Shalit, D. Sontag, "Structured inference networks", 2017."""

    def __init__(self, steps: int = 5) -> None:
        super().__init__()
        self.steps = steps
        self.transition, self.emitter = mlp(8, 2 * 8), mlp(8, 20)
        self.rnn, self.combiner = nn.GRU(20, 16, batch_first=True), mlp(16 + 8, 2 * 8)
        self.z_0 = nn.Parameter(torch.zeros(8))

    def model(self, x: Tensor) -> None:
        with pyro.plate("sequences", len(x)):
            z = self.z_0.expand(len(x), 8)
            for t in pyro.markov(range(1, self.steps + 1)):
                loc, scale = self.transition(z).chunk(2, -1)
                z = pyro.sample(f"z_{t}", dist.Normal(loc, scale.exp()).to_event(1))
                logits = self.emitter(z)
                pyro.sample(f"x_{t}", dist.Bernoulli(logits=logits).to_event(1), obs=x[:, t - 1])

    def guide(self, x: Tensor) -> None:
        with pyro.plate("sequences", len(x)):
            h, _ = self.rnn(x.flip(1))
            z = torch.zeros(len(x), 8)
            for t in pyro.markov(range(1, self.steps + 1)):
                loc, scale = self.combiner(torch.cat([h[:, -t], z], -1)).chunk(2, -1)
                z = pyro.sample(f"z_{t}", dist.Normal(loc, scale.exp()).to_event(1))


@picture
def deep_markov_model() -> ModelGraph:
    return render_model(DeepMarkovModel(), (torch.zeros(16, 5, 20),))


@picture
def deep_markov_model_folded() -> ModelGraph:
    return render_model(DeepMarkovModel(), (torch.zeros(16, 5, 20),), fold=True)


def schools(sigma: Tensor, y: Tensor | None = None) -> None:
    """D. B. Rubin, "Estimation in parallel randomized experiments", 1981."""
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("schools", len(sigma)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


@picture
def eight_schools() -> ModelGraph:
    return render_model(schools, (torch.ones(8), torch.zeros(8)))


@picture
def auto_normal() -> ModelGraph:
    return render_model(schools, (torch.ones(8), torch.zeros(8)), guide=AutoNormal(schools))


@picture
def auto_multivariate_normal() -> ModelGraph:
    guide = AutoMultivariateNormal(schools)
    return render_model(schools, (torch.ones(8), torch.zeros(8)), guide=guide)


@picture
def latent_dirichlet_allocation() -> ModelGraph:
    """D. M. Blei, A. Y. Ng, M. I. Jordan, 2003, as in Pyro's examples."""

    def model(words: Tensor) -> None:
        with pyro.plate("topics", 8):
            weight = pyro.sample("topic_weights", dist.Gamma(1.0 / 8, 1.0))
            topic_words = pyro.sample("topic_words", dist.Dirichlet(torch.ones(1024) / 1024))
        with pyro.plate("documents", 1000, subsample_size=32) as chosen:
            topics = pyro.sample("doc_topics", dist.Dirichlet(weight))
            with pyro.plate("words", 64):
                topic = pyro.sample("word_topics", dist.Categorical(topics))
                probs = topic_words[topic]
                pyro.sample("doc_words", dist.Categorical(probs), obs=words[:, chosen])

    return render_model(model, (torch.zeros(64, 1000, dtype=torch.long),))


@picture
def crossing_plates() -> ModelGraph:
    """Matrix factorisation: a rating for each user and each item."""

    def model(ratings: Tensor) -> None:
        users = pyro.plate("users", ratings.shape[0], dim=-2)
        items = pyro.plate("items", ratings.shape[1], dim=-1)
        noise = pyro.sample("noise", dist.HalfNormal(1.0))
        with users:
            u = pyro.sample("u", dist.Normal(torch.zeros(4), 1.0).to_event(1))
        with items:
            v = pyro.sample("v", dist.Normal(torch.zeros(4), 1.0).to_event(1))
        with users, items:
            pyro.sample("rating", dist.Normal((u * v).sum(-1), noise), obs=ratings)

    return render_model(model, (torch.zeros(30, 50),))


@picture
def three_crossing_plates() -> ModelGraph:
    """All seven ways to be in three plates."""

    def model() -> None:
        a = pyro.plate("A", 2, dim=-3)
        b = pyro.plate("B", 3, dim=-2)
        c = pyro.plate("C", 4, dim=-1)
        with a:
            x = pyro.sample("a", dist.Normal(0.0, 1.0))
        with b:
            y = pyro.sample("b", dist.Normal(0.0, 1.0))
        with c:
            z = pyro.sample("c", dist.Normal(0.0, 1.0))
        with a, b:
            xy = pyro.sample("ab", dist.Normal(x + y, 1.0))
        with a, c:
            xz = pyro.sample("ac", dist.Normal(x + z, 1.0))
        with b, c:
            yz = pyro.sample("bc", dist.Normal(y + z, 1.0))
        with a, b, c:
            pyro.sample("abc", dist.Normal(xy + xz + yz, 1.0), obs=torch.zeros(2, 3, 4))

    return render_model(model)


@picture
def regression() -> ModelGraph:
    """A deterministic site, and a factor that favours small weights."""

    def model(x: Tensor, y: Tensor) -> None:
        weights = pyro.sample("weights", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        bias = pyro.sample("bias", dist.Normal(0.0, 10.0))
        scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        pyro.factor("small", -weights.abs().sum())
        with pyro.plate("data", len(x)):
            mean = pyro.deterministic("mean", bias + x @ weights, event_dim=0)
            pyro.sample("y", dist.Normal(mean, scale), obs=y)

    return render_model(model, (torch.zeros(40, 3), torch.zeros(40)))


@picture
def horseshoe() -> ModelGraph:
    """C. M. Carvalho, N. G. Polson, J. G. Scott, "The horseshoe estimator", 2010."""

    def model(x: Tensor, y: Tensor) -> None:
        tau = pyro.sample("tau", dist.HalfCauchy(1.0))
        with pyro.plate("features", x.shape[1]):
            local = pyro.sample("lambda", dist.HalfCauchy(1.0))
            beta = pyro.sample("beta", dist.Normal(0.0, tau * local))
        sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(x @ beta, sigma), obs=y)

    return render_model(model, (torch.zeros(40, 12), torch.zeros(40)))


@picture
def subsampling() -> ModelGraph:
    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x), subsample_size=10) as chosen:
            local = pyro.sample("local", dist.Normal(mean, 1.0))
            pyro.sample("x", dist.Normal(local, 1.0), obs=x[chosen])

    def guide(x: Tensor) -> None:
        loc = pyro.param("loc", torch.zeros(()))
        pyro.sample("mean", dist.Normal(loc, 1.0))
        locs = pyro.param("locs", torch.zeros(len(x)))
        with pyro.plate("data", len(x), subsample_size=10) as chosen:
            pyro.sample("local", dist.Normal(locs[chosen], 1.0))

    return render_model(model, (torch.zeros(1000),), guide=guide)


@picture
def forty_sites() -> ModelGraph:
    """Eight groups of five sites, each with two parents."""

    def model() -> None:
        sites: list[Tensor] = []
        for i in range(40):
            parents = [sites[j] for j in (i - 5, i - 6) if j >= 0]
            obs = torch.zeros(()) if i >= 35 else None
            p = dist.Normal(sum(parents, torch.zeros(())), 1.0)
            sites.append(pyro.sample(f"s{i}", p, obs=obs))

    return render_model(model)


@picture
def fair_coin() -> ModelGraph:
    """Pyro's SVI tutorial, part one."""

    def model(tosses: Tensor) -> None:
        fairness = pyro.sample("latent_fairness", dist.Beta(10.0, 10.0))
        for i in range(len(tosses)):
            pyro.sample(f"obs_{i}", dist.Bernoulli(fairness), obs=tosses[i])

    def guide(tosses: Tensor) -> None:
        alpha = pyro.param("alpha_q", torch.tensor(15.0), constraint=dist.constraints.positive)
        beta = pyro.param("beta_q", torch.tensor(15.0), constraint=dist.constraints.positive)
        pyro.sample("latent_fairness", dist.Beta(alpha, beta))

    return render_model(model, (torch.ones(4),), guide=guide, render_constraints=True)


@picture
def hidden_markov_model() -> ModelGraph:
    """Pyro's HMM example: sequences in a plate, time in a loop, states enumerated."""

    def model(x: Tensor) -> None:
        probs_x = pyro.sample("probs_x", dist.Dirichlet(torch.ones(4, 4)).to_event(1))
        with pyro.plate("tones", 3):
            probs_y = pyro.sample("probs_y", dist.Beta(torch.ones(4), 1.0).to_event(1))
        with pyro.plate("sequences", len(x), dim=-2):
            state: Any = 0
            for t in pyro.markov(range(4)):
                prior = dist.Categorical(probs_x[state])
                state = pyro.sample(f"x_{t}", prior, infer={"enumerate": "parallel"})
                with pyro.plate(f"notes_{t}", 3, dim=-1):
                    notes = probs_y.T[state.squeeze(-1)]
                    pyro.sample(f"y_{t}", dist.Bernoulli(notes), obs=x[:, t])

    return render_model(model, (torch.zeros(6, 4, 3),))


@picture
def rugged_regression() -> ModelGraph:
    """Pyro's introduction: terrain ruggedness and wealth."""

    def model(is_africa: Tensor, ruggedness: Tensor, log_gdp: Tensor) -> None:
        a = pyro.sample("a", dist.Normal(0.0, 10.0))
        b_a = pyro.sample("bA", dist.Normal(0.0, 1.0))
        b_r = pyro.sample("bR", dist.Normal(0.0, 1.0))
        b_ar = pyro.sample("bAR", dist.Normal(0.0, 1.0))
        sigma = pyro.sample("sigma", dist.Uniform(0.0, 10.0))
        slopes = b_a * is_africa + b_r * ruggedness + b_ar * is_africa * ruggedness
        with pyro.plate("data", len(ruggedness)):
            pyro.sample("obs", dist.Normal(a + slopes, sigma), obs=log_gdp)

    return render_model(model, (torch.zeros(170), torch.zeros(170), torch.zeros(170)))


@picture
def partly_observed() -> ModelGraph:
    """Missing values are imputed; the guide omits one latent, which is an error in SVI."""

    def model(x: Tensor, is_observed: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, scale), obs=x, obs_mask=is_observed)

    def guide(x: Tensor, is_observed: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(pyro.param("loc", torch.zeros(())), 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x_unobserved", dist.Normal(mean, 1.0))

    return render_model(model, (torch.zeros(9), torch.arange(9) > 3), guide=guide)


@picture
def python_branch() -> ModelGraph:
    """A coin decides which sites exist; an experiment shows it, tensors do not."""

    def model() -> None:
        coin = pyro.sample("coin", dist.Bernoulli(0.5))
        if coin.item() == 1:
            pyro.sample("heads", dist.Normal(0.0, 1.0))
        else:
            pyro.sample("tails", dist.Gamma(1.0, 1.0))

    return render_model(model)


def main(arguments: list[str] | None = None) -> Mapping[str, Path]:
    """Write the gallery and return the pictures' paths by name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("gallery"))
    parser.add_argument("--smoke", action="store_true", help="write SVG only")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, draw in GALLERY.items():
        graph = draw()
        paths[name] = options.folder / f"{name}.svg"
        graph.save(paths[name])
        if not options.smoke:
            graph.save(paths[name].with_suffix(".png"))
        print(f"{paths[name]}: {len(graph.model.nodes)} nodes, {len(graph.model.edges)} edges")
    return paths


if __name__ == "__main__":
    main()
