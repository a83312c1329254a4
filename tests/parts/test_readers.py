"""Networks that summarise a unit's rows for a made guide: images, sets and tokens."""

from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from refused import refused, refused_with
from torch import Tensor, nn

from pyro_vae import InputError, fit, log_evidence
from pyro_vae.guides import AutoAmortized
from pyro_vae.networks import MLP, ConvEncoder, DeepSets, EmbeddedTokens, MaskedInput

X = torch.randn(10, generator=torch.Generator().manual_seed(0))
SMALL = partial(MLP, hidden_dims=(16,))
SETS = partial(DeepSets, element=SMALL, network=SMALL, width=16)


def groups(x: Tensor) -> None:
    """Groups of unlike size, padded with NaN."""
    with pyro.plate("groups", len(x), dim=-2):
        effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
        with (
            pyro.plate("members", x.shape[1], dim=-1),
            poutine.mask(mask=~x.isnan()),
        ):
            pyro.sample("x", dist.Normal(effect, 1.0), obs=x.nan_to_num())


def padded(num_groups: int, most: int) -> Tensor:
    x = torch.randn(num_groups, 1) + torch.randn(num_groups, most)
    size = torch.randint(1, most + 1, (num_groups, 1))
    return x.masked_fill(torch.arange(most) >= size, torch.nan)


def q_of(guide: AutoAmortized, *args: Tensor, site: str = "effect") -> tuple[Tensor, Tensor]:
    fn = poutine.trace(guide).get_trace(*args).nodes[site]["fn"]
    return fn.mean, fn.variance


def test_a_group_has_one_posterior_in_any_order_and_padding() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        x = padded(20, 6)
        guide = AutoAmortized(groups, x, reader=SETS)
        nn.init.normal_(
            guide.local.factors["effect"].linear.weight
        )  # it starts without the linear path
        mean, variance = q_of(guide, x)
        wider = torch.cat([x, torch.full((20, 3), torch.nan)], 1)[:, torch.randperm(9)]
        for expected, found in zip((mean, variance), q_of(guide, wider), strict=True):
            assert mean.std() > 0
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        alone = q_of(guide, x[3:4])
        torch.testing.assert_close(alone[0], mean[3:4], rtol=1e-10, atol=1e-10)
    finally:
        torch.set_default_dtype(torch.float32)


def test_groups_larger_than_any_seen_have_their_posterior() -> None:
    x = padded(2_000, 6)
    guide = AutoAmortized(groups, x[:1000], reader=SETS)
    program = fit((groups, guide), x, epochs=60, batch_size=100, progress=False, seed=0).program
    new = padded(300, 8)
    size, total = (~new.isnan()).sum(1), new.nansum(1)
    mean, variance = (each.flatten() for each in q_of(guide, new))
    exact = 1 / (1 + size)
    kl = (variance / exact).log().neg() + variance / exact - 1
    kl = (kl + (mean - total * exact).square() / exact) / 2
    assert kl.median() < 0.01
    evidence = log_evidence(program, new, num_particles=500, seed=0)
    closed = torch.stack([_log_evidence(row[~row.isnan()]) for row in new])
    assert ((evidence.log_evidence - closed).abs() < 5 * evidence.standard_error + 1e-4).all()


def _log_evidence(x: Tensor) -> Tensor:
    return dist.MultivariateNormal(torch.zeros(len(x)), torch.eye(len(x)) + 1).log_prob(x)


def test_words_are_read_by_their_embeddings() -> None:
    topic = torch.tensor([[0.4, 0.4, 0.1, 0.1], [0.1, 0.1, 0.4, 0.4]])

    def documents(words: Tensor) -> None:
        with pyro.plate("documents", len(words), dim=-2):
            share = pyro.sample("share", dist.Beta(1.0, 1.0))
            each = share.unsqueeze(-1) * topic[0] + (1 - share.unsqueeze(-1)) * topic[1]
            with pyro.plate("words", words.shape[1], dim=-1):
                pyro.sample("word", dist.Categorical(each), obs=words)

    share = torch.rand(1_000, 1)
    words = dist.Categorical(share.unsqueeze(1) * topic[0] + (1 - share.unsqueeze(1)) * topic[1])
    x = words.sample((12,)).squeeze(-1).T
    reader = partial(EmbeddedTokens, num_tokens=4, embedding_dim=4, network=SETS)
    guide = AutoAmortized(documents, x, reader=reader)
    program = fit((documents, guide), x, epochs=40, batch_size=100, progress=False, seed=0).program
    mean, _ = q_of(guide, x, site="share")
    assert torch.corrcoef(torch.stack([mean.flatten(), (x < 2).float().mean(1)]))[0, 1] > 0.95
    grid = torch.linspace(0.0005, 0.9995, 1_000)
    likelihood = dist.Categorical(
        grid.unsqueeze(-1) * topic[0] + (1 - grid.unsqueeze(-1)) * topic[1]
    )
    exact = (
        likelihood.log_prob(x[:50].unsqueeze(-1)).sum(1).logsumexp(-1) - torch.tensor(1_000.0).log()
    )
    evidence = log_evidence(program, x[:50], num_particles=500, seed=0)
    known = evidence.standard_error.isfinite()  # a few documents have heavy tails, and no error
    off = (evidence.log_evidence - exact)[known].abs() / evidence.standard_error[known]
    assert known.float().mean() > 0.9
    assert (off < 5).all()


def test_images_are_read_by_convolutions() -> None:
    decoder = nn.Linear(2, 64)

    def images(x: Tensor, label: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("images", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            loc = (decoder(z) + label.unsqueeze(-1)).unflatten(-1, (1, 8, 8))
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(3), obs=x)

    x, label = torch.randn(40, 1, 8, 8), torch.randn(40)
    guide = AutoAmortized(images, x, label, reader=ConvEncoder)
    assert any(isinstance(module, nn.Conv2d) for module in guide.modules())
    assert fit((images, guide), (x, label), epochs=2, progress=False).program[1] is guide
    mean, _ = q_of(guide, x[:3], label[:3], site="z")
    other, _ = q_of(guide, x[:3], label[:3] + 1, site="z")
    assert mean.shape == (3, 2)
    assert not torch.equal(mean, other)  # what the reader does not read follows in a line


def test_gaps_need_a_reader_that_takes_them() -> None:
    x = torch.randn(10, 1, 8, 8)
    x[0, 0, 0, 0] = torch.nan

    def images(x: Tensor) -> None:
        with pyro.plate("images", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            fn = dist.Normal(z[..., None, None, None].expand(*z.shape, 1, 8, 8), 1.0)
            pyro.sample("x", fn.mask(~x.isnan()).to_event(3), obs=x.nan_to_num())

    with refused("reader", remedy="MaskedInput"):
        AutoAmortized(images, x, reader=ConvEncoder)
    guide = AutoAmortized(images, x, reader=partial(MaskedInput, network=ConvEncoder))
    assert q_of(guide, x, site="z")[0].isfinite().all()


def test_a_gap_that_comes_later_is_read_as_the_mean() -> None:
    x = padded(30, 4).nan_to_num()
    guide = AutoAmortized(groups, x, reader=MLP)
    x[0, 1] = torch.nan
    assert q_of(guide, x)[0].isfinite().all()
    assert fit((groups, guide), x, epochs=1, progress=False).metrics[0]["train_elbo"] < 0


def with_covariate(x: Tensor, other: Tensor) -> None:
    """Sets whose members have a covariate."""
    with pyro.plate("groups", len(x), dim=-2):
        effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
        with pyro.plate("members", x.shape[1], dim=-1):
            pyro.sample("x", dist.Normal(effect + other, 1.0), obs=x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.int64])
def test_columns_of_a_set_join_each_other(dtype: torch.dtype) -> None:
    x, other = torch.randn(10, 5), (torch.randn(10, 5) > 0).to(dtype)
    guide = AutoAmortized(with_covariate, x, other, reader=SETS)
    nn.init.normal_(guide.local.factors["effect"].linear.weight)
    order = torch.tensor([1, 2, 3, 4, 0])
    mean, _ = q_of(guide, x, other)
    torch.testing.assert_close(q_of(guide, x[:, order], other[:, order])[0], mean)
    assert not torch.allclose(q_of(guide, x[:, order], other)[0], mean)
    with refused_with("reader", "[7, 5]"):
        guide(torch.randn(10, 7), other)


def of_units(x: Tensor, label: Tensor) -> None:
    """Sets of any size, and covariates of their unit."""
    with pyro.plate("groups", len(x), dim=-2):
        effect = pyro.sample("effect", dist.Normal(label.sum(1, keepdim=True), 1.0))
        with pyro.plate("members", x.shape[1], dim=-1):
            pyro.sample("x", dist.Normal(effect, 1.0), obs=x)


def test_what_is_read_stays_when_sizes_change() -> None:
    guide = AutoAmortized(of_units, torch.randn(20, 4), torch.randn(20, 7), reader=SETS)
    x, label = torch.randn(5, 7), torch.randn(5, 7)  # as many members as covariates
    mean, _ = q_of(guide, x, label)
    torch.testing.assert_close(q_of(guide, x.flip(1), label)[0], mean)


def test_columns_of_a_table_have_a_scale_each() -> None:
    def table(x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            loc = torch.stack([3e5 + 1e5 * z, z], -1)
            pyro.sample("x", dist.Normal(loc, torch.tensor([1e5, 1.0])).to_event(1), obs=x)

    x = torch.randn(500, 2) * torch.tensor([1e5, 1.0]) + torch.tensor([3e5, 0.0])
    read = AutoAmortized(table, x, reader=MLP).local.columns
    line = (x.reshape(500, 2) - read.scaling.location) / read.scaling.scale
    assert ((line.std(0) - 1).abs() < 0.1).all()


def test_counts_are_sets_too_and_words_may_be_more() -> None:
    def counts(size: Tensor, x: Tensor) -> None:
        with pyro.plate("groups", len(x), dim=-2):
            rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
            with pyro.plate("members", x.shape[1], dim=-1):
                pyro.sample("x", dist.Poisson(rate * size.unsqueeze(-1)), obs=x)

    size, x = torch.ones(40), torch.poisson(torch.ones(40, 4)).long()
    guide = AutoAmortized(counts, size, x, reader=SETS)  # the first argument has no elements
    assert q_of(guide, size, torch.cat([x, x], 1), site="rate")[0].shape == (40, 1)
    words = EmbeddedTokens((6, 1), (2,), network=SETS, num_tokens=5)
    assert words(torch.randint(5, (3, 9, 1))).shape == (3, 2)
    reader = partial(EmbeddedTokens, num_tokens=9, network=SETS)
    beside = AutoAmortized(
        with_covariate, x.float().clamp(max=8), torch.randn(40, 4), reader=reader
    )
    assert beside.local.columns.out_dim == 64 + 4  # covariates are no tokens, and follow in a line
    with refused("EmbeddedTokens", expected="(6, 1)"):
        EmbeddedTokens((6, 1), (2,), network=SMALL, num_tokens=5)(torch.randint(5, (3, 9, 1)))


def seven(shape: Any, out: Any) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 7))


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        ("DeepSets", "class"),
        (nn.Linear, "factory"),
        (seven, "factory"),
        (DeepSets((4, 1), (64,)), "class"),
    ],
)
def test_what_makes_no_reader(reader: Any, words: str) -> None:
    with pytest.raises(InputError, match="reader") as caught:
        AutoAmortized(groups, torch.randn(10, 4), reader=reader)
    assert words in (caught.value.expected or "")


def test_a_reader_that_would_read_nothing() -> None:
    def by_index(x: Tensor) -> None:
        effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", 10):
            pyro.sample("x", dist.Normal(effect, 1.0), obs=X)

    def series(x: Tensor) -> None:
        with pyro.plate("units", len(x)):
            z: Any = 0.0
            for t in range(6):
                z = pyro.sample(f"z_{t}", dist.Normal(z, 1.0))
                pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=x[:, t])

    def scalars(x: Tensor) -> None:
        with pyro.plate("units", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    for model, x in ((by_index, X[:3]), (series, torch.randn(9, 6)), (scalars, X)):
        with refused("reader", remedy="leave reader out"):
            AutoAmortized(model, x, reader=SETS)


def test_the_guide_says_who_reads() -> None:
    assert "by a network of rows which DeepSets summarises" in str(
        AutoAmortized(groups, torch.randn(10, 4), reader=SETS)
    )
