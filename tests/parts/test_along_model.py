"""Factors that know the prior, given what was drawn before them."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.poutine.runtime import _DIM_ALLOCATOR, _PYRO_STACK
from torch import Tensor

from pyro_vae.guides import AutoAmortized
from pyro_vae.guides.along_model import draw_along
from pyro_vae.guides.free_factor import GAIN, FreeFactor

GROUPS, EACH, NOISE = 6, 4, 0.5
INDEX = torch.arange(GROUPS * EACH) % GROUPS


def hierarchy(x: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    spread = pyro.sample("spread", dist.HalfCauchy(1.0))
    with pyro.plate("groups", GROUPS):
        effect = pyro.sample("effect", dist.Normal(mean, spread))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal(effect[..., INDEX], NOISE), obs=x)


def growth(x: Tensor) -> None:
    """Effects that are positive."""
    mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    spread = pyro.sample("spread", dist.HalfCauchy(1.0))
    with pyro.plate("groups", GROUPS):
        effect = pyro.sample("effect", dist.LogNormal(mean, spread))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal(effect[..., INDEX].log(), NOISE), obs=x)


@pytest.mark.parametrize(("model", "is_log"), [(hierarchy, False), (growth, True)])
def test_a_factor_that_knows_the_data_has_the_exact_posterior_for_any_prior(model, is_log) -> None:
    torch.manual_seed(0)
    x = torch.randn(GROUPS * EACH)
    means = x.reshape(EACH, GROUPS).mean(0)
    guide = AutoAmortized(model, x)
    assert guide.along == ("effect",)
    (factor,) = guide.shared.factors
    assert isinstance(factor, FreeFactor)
    with torch.no_grad():
        unit = factor.unit
        factor.mean.copy_(((means[:, None] - factor.location) / unit) / GAIN)
        factor.log_scale.copy_((NOISE / EACH**0.5 / unit).log().expand(GROUPS, 1) / GAIN)
    for _ in range(20):
        trace = poutine.trace(guide).get_trace(x)
        mean, spread, effect = (trace.nodes[n]["value"] for n in ("mean", "spread", "effect"))
        precision = EACH / NOISE**2 + spread**-2
        loc = (means * EACH / NOISE**2 + mean / spread**2) / precision
        exact = (dist.LogNormal if is_log else dist.Normal)(loc, precision.rsqrt())
        q = trace.nodes["effect"]["fn"]
        torch.testing.assert_close(q.log_prob(effect), exact.log_prob(effect), rtol=1e-4, atol=1e-4)


def test_the_prior_comes_from_the_model_with_the_draws_of_this_call() -> None:
    """Draws along a dimension of particles, too; a replayed value counts, and not one of the model."""
    x = torch.randn(GROUPS * EACH)
    guide = AutoAmortized(hierarchy, x)
    given = {"_shared": torch.tensor([[1.0, 0.5], [-1.0, 2.0]]).unsqueeze(-2)}
    together = poutine.condition(guide, given)(x)["effect"]
    assert together.shape == (2, GROUPS)
    alone = [poutine.trace(poutine.condition(guide, {"_shared": one})) for one in given["_shared"]]
    for number, handler in enumerate(alone):
        q = handler.get_trace(x).nodes["effect"]["fn"]
        both = poutine.trace(poutine.condition(guide, given)).get_trace(x).nodes["effect"]["fn"]
        torch.testing.assert_close(both.mean[number], q.mean.squeeze(0))


def test_learnt_priors_are_not_looked_at() -> None:
    """The guide would hold the model's parameters."""

    class Learnt(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = torch.nn.Linear(1, 1)

        def model(self, x: Tensor) -> None:
            mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
            with pyro.plate("units", len(x)):
                z = pyro.sample("z", dist.Normal(self.slope(mean.unsqueeze(-1)).squeeze(-1), 1.0))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    assert AutoAmortized(Learnt(), torch.randn(5)).along == ()


def test_a_learnt_prior_beside_a_known_one_is_not_looked_at_either() -> None:
    """Both are drawn while the model runs. The guide's density must not move with the model's parameter."""
    level = torch.nn.Parameter(torch.tensor(0.0))

    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.level = level

        def model(self, x: Tensor) -> None:
            mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
            with pyro.plate("units", len(x)):
                known = pyro.sample("known", dist.Normal(mean, 0.5))
                learnt = pyro.sample("learnt", dist.Normal(known + self.level, 1.0))
                pyro.sample("x", dist.Normal(learnt, 1.0), obs=x)

    x = torch.randn(5)
    guide = AutoAmortized(Both(), x)
    assert guide.informed == {"known"}
    assert guide.along == ("known", "learnt")
    trace = poutine.trace(guide).get_trace(x)
    (gradient,) = torch.autograd.grad(trace.log_prob_sum(), level, allow_unused=True)
    assert gradient is None


def test_handlers_and_plates_are_as_they_were() -> None:
    """However the model is left: at its last latent, inside of loops and plates, or by an error."""

    def model(fails: bool) -> None:
        for i in pyro.plate("outer", 2):
            with pyro.plate(f"inner_{i}", 3), poutine.scale(scale=2.0):
                pyro.sample(f"z_{i}", dist.Normal(0.0, 1.0))
                if fails:
                    raise ValueError("of the model")

    def draw(name: str, fn: object) -> Tensor:
        with pyro.plate(name.replace("z", "inner"), 3, dim=-1):  # as if the model had none
            assert fn.batch_shape == (3,)
            return pyro.sample(name, dist.Normal(0.0, 1.0))

    for names, fails in ((["z_0"], False), (["z_0", "z_1"], False), (["z_0", "z_1"], True)):
        drawn: dict[str, Tensor] = {}
        before = list(_PYRO_STACK), list(_DIM_ALLOCATOR._stack)
        with poutine.trace() as seen:
            if fails:
                with pytest.raises(ValueError, match="of the model"):
                    draw_along(model, (fails,), {}, drawn, names, draw)
            else:
                draw_along(model, (fails,), {}, drawn, names, draw)
                assert [*drawn] == names
        assert [n for n in seen.trace.nodes if n.startswith("z")] == [*drawn]
        assert all(seen.trace.nodes[n]["scale"] == 1.0 for n in drawn)
        assert (list(_PYRO_STACK), list(_DIM_ALLOCATOR._stack)) == before
    trace = poutine.trace(model).get_trace(False)  # plates can be entered again
    assert [n for n in trace.nodes if n.startswith("z")] == ["z_0", "z_1"]
