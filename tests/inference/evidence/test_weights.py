"""What is kept of a stream of weights is what all the weights together would give."""

import math

import arviz
import pytest
import torch
from torch import Tensor

from pyro_vae.inference.evidence.psis import Tail, smooth, tail_length
from pyro_vae.inference.evidence.weights import WeightSums


def weights(count: int, units: int = 4, spread: float = 1.5) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return spread * torch.randn(count, units, generator=generator, dtype=torch.float64)


def streamed(log_weights: Tensor, chunk: int) -> WeightSums:
    sums = WeightSums(len(log_weights), log_weights.shape[1])
    for part in log_weights.split(chunk):
        sums.add(part)
    return sums


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_chunks_change_nothing(chunk) -> None:
    w = 200 * weights(1000)
    w[:500, 0] = -math.inf
    sums = streamed(w, chunk)
    torch.testing.assert_close(sums.log_mean(), w.logsumexp(0) - math.log(1000))
    torch.testing.assert_close(sums.ess(), (2 * w.logsumexp(0) - (2 * w).logsumexp(0)).exp())
    whole = streamed(w, 1000)
    assert sums.standard_error().isnan().all()  # a single weight decides
    light = weights(1000)
    one, other = (streamed(light, size).standard_error() for size in (chunk, 1000))
    assert one.isfinite().any()
    torch.testing.assert_close(one, other, equal_nan=True)
    torch.testing.assert_close(sums.jackknife(), whole.jackknife())
    for one, other in zip(sums.pareto(), whole.pareto(), strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)


def test_weights_that_are_all_zero_are_minus_infinity_and_nan_stays_nan() -> None:
    sums = streamed(torch.full((30, 1), -math.inf), 7)
    assert sums.log_mean().item() == -math.inf
    spoilt = weights(30)
    spoilt[3, 1] = math.nan
    assert streamed(spoilt, 7).log_mean().isnan().tolist() == [False, True, False, False]


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("count", [100, 3000])
def test_pareto_k_is_that_of_arviz(count, spread) -> None:
    w = weights(count, spread=spread)
    k, log_mean = streamed(w, 77).pareto()
    if not hasattr(arviz, "psislw"):  # from 1.0 on, whose tail is rounded down, not up
        from arviz_stats.base import array_stats

        down = math.floor(min(count / 5, 3 * math.sqrt(count)))
        shorter = Tail.of(w.topk(down + 1, dim=0).values).k
        _, k_arviz = array_stats.psislw(-w.T.numpy(), axis=-1)
        assert shorter.tolist() == pytest.approx(k_arviz.tolist(), abs=2e-3)
        return
    smoothed, k_arviz = arviz.psislw(w.T.numpy())
    assert k.tolist() == pytest.approx(k_arviz.tolist(), abs=2e-3)
    # arviz normalises the smoothed weights: their shape, not their sum, can be compared
    tail = tail_length(count)
    largest = w.topk(tail + 1, dim=0).values
    again = Tail.of(largest)
    torch.testing.assert_close(k, again.k)
    torch.testing.assert_close(log_mean, smooth(again, largest, w.logsumexp(0), count))
    raw = w.logsumexp(0) - math.log(count)
    relative = (w - raw).exp()
    assert ((log_mean - raw).abs() < 5 * relative.std(0) / count**0.5).all()
    ratio_tail = torch.from_numpy(smoothed.values if hasattr(smoothed, "values") else smoothed)
    share = ratio_tail.exp().topk(tail, dim=1).values.sum(1)
    ours = 1 - ((w.logsumexp(0)).exp() - largest[:-1].exp().sum(0)) / (log_mean.exp() * count)
    torch.testing.assert_close(ours, share, rtol=2e-2, atol=2e-3)


def test_too_few_weights_for_k() -> None:
    k, log_mean = streamed(weights(20), 20).pareto()
    assert k.isnan().all()
    assert log_mean.isnan().all()


def test_equal_weights_have_no_tail() -> None:
    k, log_mean = streamed(torch.full((200, 2), -3.0), 50).pareto()
    assert (k == -math.inf).all()
    torch.testing.assert_close(log_mean, torch.full((2,), -3.0).double())


@pytest.mark.parametrize("count", [2, 50, 2000])
def test_jackknife_against_leaving_each_out(count) -> None:
    w = weights(count, spread=2.5)
    total = w.exp().sum(0)
    left_out = ((total - w.exp()).log() - math.log(count - 1)).mean(0)
    expected = count * (total.log() - math.log(count)) - (count - 1) * left_out
    torch.testing.assert_close(streamed(w, 33).jackknife(), expected, rtol=1e-4, atol=2e-4)


def test_the_jackknife_removes_bias() -> None:
    """Log-normal weights of mean one: the bound at K = 50 is biased by -variance / (2K)."""
    w = weights(50, 40_000, spread=0.8) - 0.32
    sums = streamed(w, 50)
    error = sums.log_mean().std().item() / 200
    assert sums.log_mean().mean().item() < -4 * error
    assert abs(sums.jackknife().mean().item()) < 4 * error


@pytest.mark.parametrize("chunk", [1, 13, 1000])
def test_bounds_over_k_from_the_same_draws(chunk) -> None:
    w = weights(1050)
    bounds = streamed(w, chunk).bounds()
    assert list(bounds) == [1, 10, 100, 1000, 1050]
    torch.testing.assert_close(bounds[1], (w.mean(0), w.std(0) / len(w) ** 0.5))
    for size in (10, 100, 1000):
        blocks = w[: len(w) // size * size].unflatten(0, (-1, size))
        logs = blocks.logsumexp(1) - math.log(size)
        torch.testing.assert_close(bounds[size][0], logs.mean(0))
        error = logs.std(0) / len(logs) ** 0.5 if len(logs) > 1 else math.nan * logs[0]
        torch.testing.assert_close(bounds[size][1], error, equal_nan=True)
