"""What is inside a distribution is found, and put back, through every wrapper."""

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.distributions import transforms as T

from pyro_vae.distributions import PartiallyObserved
from pyro_vae.program.masks import has_mask, mask_of, unmask
from pyro_vae.program.support import support_of
from pyro_vae.program.wrappers import (
    SHAPES_AND_MASKS,
    declared_events,
    innermost,
    inside,
    layers,
    own_masks,
    parts,
    rebuilt,
    without_masks,
)

MASK = torch.tensor([True, False, True])


class Own(dist.TorchDistribution):
    """A distribution that cannot expand by itself, so Pyro wraps it."""

    arg_constraints = {}
    support = dist.constraints.real

    def log_prob(self, value: Tensor) -> Tensor:
        return -value.square()

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        return torch.zeros(sample_shape)


def normal(*shape: int) -> dist.Normal:
    return dist.Normal(torch.zeros(shape), 1.0)


CASES = {
    "nothing": (normal(2, 3), dist.Normal, 0, 0),
    "events": (normal(2, 3).to_event(1), dist.Normal, 1, 0),
    "events twice": (normal(2, 3).to_event(1).to_event(1), dist.Normal, 2, 0),
    "a mask": (normal(2, 3).mask(MASK), dist.Normal, 0, 1),
    "a mask within events": (normal(2, 3).mask(MASK).to_event(1), dist.Normal, 1, 1),
    "masks between": (
        normal(2, 3).mask(MASK).to_event(1).mask(False).to_event(1),
        dist.Normal,
        2,
        2,
    ),
    "own events": (
        dist.MultivariateNormal(torch.zeros(3, 2), torch.eye(2)).to_event(1),
        dist.MultivariateNormal,
        1,
        0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_wrappers_hold(case: str) -> None:
    fn, kind, events, masks = CASES[case]
    assert type(inside(fn)) is kind
    assert inside(fn) is innermost(fn)
    assert declared_events(fn) == events
    assert len(own_masks(fn)) == masks
    assert next(layers(fn)) is fn
    other = dist.Laplace(torch.zeros(fn.batch_shape + fn.event_shape), 1.0)
    if inside(fn).event_shape:
        return
    there = rebuilt(fn, other)
    assert (there.batch_shape, there.event_shape) == (fn.batch_shape, fn.event_shape)
    assert [type(layer) for layer in layers(there)][:-1] == [type(x) for x in layers(fn)][:-1]
    again, value = rebuilt(fn, inside(fn)), torch.randn(fn.shape())
    torch.testing.assert_close(again.log_prob(value), fn.log_prob(value))


@pytest.mark.parametrize("case", CASES)
def test_without_masks_everything_counts(case: str) -> None:
    fn = CASES[case][0]
    site = {"fn": fn, "mask": None, "value": torch.randn(fn.shape())}
    assert has_mask(site) == bool(own_masks(fn))
    expected = inside(fn).to_event(declared_events(fn)).log_prob(site["value"])
    torch.testing.assert_close(without_masks(fn).log_prob(site["value"]), expected)
    unmask(site)
    assert not has_mask(site)
    assert mask_of(site).all()
    if not own_masks(fn):
        assert without_masks(fn) is fn


def test_masks_broadcast_to_the_value() -> None:
    fn, value = normal(2, 3).mask(MASK).to_event(1), torch.zeros(2, 3)
    seen = torch.tensor([True, False])
    expected = seen[:, None] & MASK
    assert torch.equal(mask_of({"fn": fn, "mask": seen, "value": value}).expand(2, 3), expected)


def test_what_is_not_a_wrapper_for_events_and_masks() -> None:
    log_normal = dist.LogNormal(torch.zeros(3), 1.0).to_event(1)
    assert type(inside(log_normal)) is dist.LogNormal
    assert type(innermost(log_normal)) is dist.Normal
    expanded = Own().expand([3]).mask(MASK).to_event(1)
    assert type(inside(expanded)) is dist.ExpandedDistribution
    assert type(inside(expanded, SHAPES_AND_MASKS)) is Own
    missing = PartiallyObserved(dist.Bernoulli(torch.full((3,), 0.5))).to_event(1)
    assert type(inside(missing)) is PartiallyObserved
    assert type(innermost(missing)) is dist.Bernoulli


def test_mixtures_and_transforms_are_made_of_parts() -> None:
    components = dist.VonMises(torch.zeros(2, 3), 1.0)
    mixture = dist.MixtureSameFamily(dist.Categorical(torch.ones(2, 3)), components).mask(False)
    kinds = [type(part).__name__ for part in parts(mixture)]
    assert kinds == ["MaskedDistribution", "MixtureSameFamily", "VonMises", "Categorical"]
    assert innermost(mixture) is mixture.base_dist
    assert support_of(mixture).upper_bound == pytest.approx(torch.pi)
    flow = dist.TransformedDistribution(normal(3), [T.ExpTransform()])
    assert [type(part) for part in parts(flow)][-1] is dist.Normal
