"""log p(value) with the event's dimensions summed, in as few passes over memory as possible.

Passes over memory are the cost of scoring a decoder's output. ``log_prob`` itself takes nine; the two
distributions that most decoders and guides end in are summed here in three or four.
"""

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch._C._functorch import is_batchedtensor
from torch.distributions import Independent
from torch.nn.functional import softplus

from pyro_vae.errors import InputError, first_line
from pyro_vae.program.structure import Structure
from pyro_vae.program.support import where_within
from pyro_vae.program.trace import Site
from pyro_vae.program.wrappers import innermost, inside, parts


def log_prob(fn: dist.TorchDistribution, value: Tensor) -> Tensor:
    """Return ``fn.log_prob(value)``, up to rounding.

    >>> fn, x = dist.Bernoulli(logits=torch.randn(5, 3, 2)).to_event(2), torch.ones(4, 1, 3, 2)
    >>> torch.allclose(log_prob(fn, x), fn.log_prob(x))
    True
    """
    base = inside(fn, Independent)
    event_dim = fn.event_dim - base.event_dim
    summed = SUMMED.get(type(base))
    shape = value.shape[value.dim() - event_dim :]
    if not summed or base._validate_args or shape != fn.event_shape:
        return fn.log_prob(value)
    if not event_dim and summed is not normal:
        return fn.log_prob(value)
    return summed(base, value, tuple(range(-event_dim, 0)))


def bernoulli(fn: dist.Bernoulli, value: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return sum_i x_i l_i - log(1 + exp(l_i)) with logits l."""
    x, logits = torch.broadcast_tensors(value.to(fn.logits.dtype), fn.logits)
    if _FOR_COMPILER.get():
        return _FusedBernoulli.apply(x, logits, len(dims))
    if torch.is_grad_enabled() or not logits.is_cpu:
        # in place: a tenth faster
        return softplus(logits).addcmul_(x, logits, value=-1).sum(dims).neg()
    # log p = log sigmoid(|l|) - (max(l, 0) - x l), whose last term is summed where nothing cancels
    linear = logits.relu().addcmul_(x, logits, value=-1).sum(dims)
    return sum_of_logs(logits.abs().sigmoid_().flatten(-len(dims))) - linear


def sum_of_logs(x: Tensor) -> Tensor:
    """Return sum_i log x_i over the last dimension, for x in [1/2, 1]; x is overwritten.

    On a CPU a logarithm costs as much as ten products, so one is taken of up to sixteen numbers' product.
    """
    for _ in range(4):
        half = -(-x.shape[-1] // 2)
        x, other = x[..., :half], x[..., half:]
        x[..., : other.shape[-1]].mul_(other)
    return x.log_().sum(-1)


_FOR_COMPILER = ContextVar("_FOR_COMPILER", default=False)


@contextmanager
def for_compiler() -> Iterator[None]:
    """Compute log-probabilities in the form that a compiler fuses best; they differ by rounding."""
    token = _FOR_COMPILER.set(True)
    try:
        yield
    finally:
        _FOR_COMPILER.reset(token)


class _FusedBernoulli(torch.autograd.Function):
    """:func:`bernoulli` in a form that a compiler makes into two loops over memory, with its gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, logits: Tensor, event_dim: int) -> Tensor:
        dims = tuple(range(-event_dim, 0))
        linear = (x * logits - logits.relu()).sum(dims)
        terms = (1 + (-logits.abs()).exp()).flatten(-event_dim)  # in [1, 2]
        whole = terms.shape[-1] // GROUP * GROUP
        grouped = terms[..., :whole].unflatten(-1, (whole // GROUP, GROUP)).prod(-1).log().sum(-1)
        return linear - (grouped + terms[..., whole:].log().sum(-1))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, logits, ctx.event_dim = inputs
        ctx.save_for_backward(x, logits)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,), (x, logits) = gradients, ctx.saved_tensors
        gradient = gradient[(..., *[None] * ctx.event_dim)]
        for_x = gradient * logits if ctx.needs_input_grad[0] else None
        return for_x, gradient * (x - logits.sigmoid()), None


def normal(fn: dist.Normal, value: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Divide by the scale, not by the variance, which is 0 in float32 for scales below 1e-23.

    A scale that is rounded to 0 counts as the smallest number, so that the density is large and not NaN.
    """
    x, _ = torch.broadcast_tensors(value, fn.loc)
    loc, scale = unexpanded(fn.loc, len(dims)), unexpanded(fn.scale, len(dims))
    scale = scale.clamp(min=torch.finfo(scale.dtype).tiny)
    standard = x - loc
    # under vmap each run may have a scale of its own, while all share the place
    if torch.is_grad_enabled() or is_batchedtensor(scale):
        standard = (standard / scale).square()
    else:
        standard.div_(scale).square_()
    log_scale = scale.log() + 0.5 * math.log(2 * math.pi)
    if not dims:
        return -0.5 * standard - log_scale
    return -0.5 * standard.sum(dims) - log_scale.sum(dims)


GROUP = 16  # numbers between 1 and 2 whose product is far from the largest float

SUMMED: dict[type, Callable[..., Tensor]] = {dist.Bernoulli: bernoulli, dist.Normal: normal}


def unexpanded(parameter: Tensor, event_dim: int) -> Tensor:
    """Return a parameter with size 1 in each batch dimension that ``expand`` made."""
    strides = parameter.stride()[: parameter.dim() - event_dim]
    return parameter[tuple(slice(None if stride else 1) for stride in strides)]


# --- of a site, by unit -----------------------------------------------------------------------


def score(sites: Collection[Site], structure: Structure, num_particles: int) -> Tensor:
    """Return the sum of sites' log-probabilities for each particle and unit, (K, U).

    Where one is minus infinity, so is the sum, even if others are NaN: a guide of great scale can put a
    latent at infinity, where it has no density and the sites that depend on it have NaN.
    """
    device = next((site["value"].device for site in sites), structure.device)
    total = torch.zeros((), device=device)
    nothing = torch.zeros_like(total, dtype=torch.bool)
    for site in sites:
        term = unit_log_prob(site, structure)
        total, nothing = total + term, nothing | (term == -math.inf)
    total = torch.where(nothing, -math.inf, total)
    return total.expand(num_particles, structure.num_units)


def unit_log_prob(site: Site, structure: Structure) -> Tensor:
    """Return a site's log-probability summed to (K or 1, U), masked but never scaled.

    Raises:
        InputError: the distribution raises.
    """
    try:
        with unvalidated(site["fn"]):
            log_probability = log_prob(site["fn"], site["value"])
    except Exception as error:  # a user's distribution can raise anything
        raise cannot_score(site, error) from error
    if site["name"] in structure.beyond:
        log_probability = where_within(site["fn"], site["value"], log_probability)
    return unit_sum(site, log_probability, structure)


@contextmanager
def unvalidated(fn: Any) -> Iterator[None]:
    """Turn a distribution's checks of values off: a bad value scores minus infinity, or NaN."""
    checking = [part for part in parts(fn) if vars(part).get("_validate_args")]
    for part in checking:
        part._validate_args = False
    try:
        yield
    finally:
        for part in checking:
            part._validate_args = True


def cannot_score(site: Site, error: Exception, owner: str = "") -> InputError:
    """Return the refusal of a site whose distribution raises an error at its value."""
    shape = tuple(getattr(site["value"], "shape", ()))
    kind = type(innermost(site["fn"])).__name__
    return InputError(
        f"{owner}site {site['name']!r} ({kind}) cannot score a value of shape {shape}: "
        f"{type(error).__name__}: {first_line(error)}",
        subject=site["name"],
    )


def unit_sum(site: Site, log_prob: Tensor, structure: Structure) -> Tensor:
    """Return a site's masked log-probabilities, ``batch |``, summed to (K or 1, U)."""
    log_prob = scale_and_mask(log_prob, 1.0, site["mask"])
    dims = structure.max_plate_nesting + 1
    log_prob = log_prob.reshape((1,) * (dims - log_prob.dim()) + log_prob.shape)
    unit = dims + structure.dim if structure.unit else None
    rest = [d for d in range(1, dims) if d != unit]
    summed = log_prob.sum(rest) if rest else log_prob
    return summed if structure.unit else summed.reshape(-1, 1)
