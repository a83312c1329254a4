"""A program runs again with other latents, data or order, and one tolerance compares the scores."""

import math
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from stories import Conjugate
from torch import Tensor

from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import as_program
from pyro_vae.program.examination import examine
from pyro_vae.program.probe import (
    ABSOLUTE,
    FINE,
    RELATIVE,
    difference,
    draw_traces,
    examined_traces,
    model_at,
    moved_sites,
    moves,
    other_value,
    rerun,
    rerun_model,
    site_scores,
)

X = torch.linspace(-1.0, 2.0, 6)


def call_of(program: object, *args: Tensor) -> BoundProgram:
    target = as_program(program)
    examined = examine(target, *args)
    return BoundProgram(target, examined.structure, False, args, examined=examined)


@pytest.mark.parametrize("fine", [False, True])
def test_one_tolerance_separates_a_move_from_rounding(fine: bool) -> None:
    score = torch.tensor([0.0, -1.0, -1e4, 1e6], dtype=torch.float64)
    leeway = (ABSOLUTE + RELATIVE * score.abs()) * (FINE if fine else 1.0)
    assert not moves(score, score + 0.99 * leeway, fine).any()
    assert moves(score, score + 1.01 * leeway, fine).all()
    odd = torch.tensor([math.nan, math.inf, -math.inf])
    assert not moves(odd, odd, fine).any()
    assert moves(odd, torch.zeros(3), fine).all()
    assert moves(torch.zeros(3), odd, fine).all()
    assert moves(odd, -odd, fine).tolist() == [False, True, True]


def test_a_site_on_one_side_has_moved_unless_only_the_guide_may_score_it() -> None:
    zero, one = torch.zeros(1), torch.ones(1)
    before = {"the model's site 'x'": zero, "the guide's site 'z'": zero, "a": zero}
    assert moved_sites(before, before) == []
    assert moved_sites(before, {}) == ["the model's site 'x'", "a"]
    assert moved_sites({}, {**before, "the guide's site 'z'": one}) == ["the model's site 'x'", "a"]
    assert moved_sites(before, {**before, "the guide's site 'z'": one}) == ["the guide's site 'z'"]
    assert difference(before, before) is None
    assert difference(before, {**before, "a": one}) == ("a", 1.0)
    assert difference({"a": one}, {}) == ("a", 1.0)
    assert difference({"a": one}, {"a": one * math.nan}) == ("a", math.inf)


def test_the_same_latents_score_the_same_and_others_do_not() -> None:
    bound_program = call_of(Conjugate, X)
    first = examined_traces(bound_program)
    scores = first.scores(bound_program.structure)
    assert list(scores) == ["the guide's site 'z'", "the model's site 'z'", "the model's site 'x'"]
    assert moved_sites(scores, rerun(bound_program, first).scores(bound_program.structure)) == []
    others = rerun(bound_program, first, other_value)
    assert moved_sites(scores, others.scores(bound_program.structure)) == list(scores)
    assert not torch.equal(others.model.nodes["z"]["value"], first.model.nodes["z"]["value"])
    again = draw_traces(bound_program)
    assert moved_sites(scores, again.scores(bound_program.structure)) == list(scores)


def test_fewer_data_at_latents_of_more() -> None:
    bound_program = call_of(Conjugate, X)
    first = examined_traces(bound_program)
    one = replace(bound_program, args=(X[2:3],))
    alone = rerun(one, first, lambda site: site["value"][2:3]).scores(
        bound_program.structure.resized(1)
    )
    whole = {name: score[:, 2:3] for name, score in first.scores(bound_program.structure).items()}
    assert difference(whole, alone) is None


def test_latents_of_the_model_alone_keep_their_values_or_are_summed_out() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(k, 1.0), obs=x)

    bound_program = call_of((model, lambda x: None), X)
    first = examined_traces(bound_program)
    scores = first.scores(bound_program.structure)
    assert moved_sites(scores, rerun(bound_program, first).scores(bound_program.structure)) == []
    model_again = rerun_model(bound_program, first)
    assert torch.equal(model_again.nodes["k"]["value"], first.model.nodes["k"]["value"])
    at = model_at(bound_program, first.latents())
    assert not moved_sites(
        site_scores(first.model, bound_program.structure), site_scores(at, bound_program.structure)
    )
    summed = (
        draw_traces(bound_program, sum_out=True)
        .particles(bound_program.structure)
        .log_likelihood[0]
    )
    each = torch.stack([dist.Normal(k, 1.0).log_prob(X) for k in (0.0, 1.0)])
    exact = (each + torch.tensor([[0.7], [0.3]]).log()).logsumexp(0)
    torch.testing.assert_close(summed, exact)


def test_points_of_a_guide_follow_from_its_draws() -> None:
    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            u = pyro.sample("u", dist.Normal(x, 1.0), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Delta(u / 3, log_density=math.log(3)))

    bound_program = call_of((Conjugate.model, guide), X)
    first = examined_traces(bound_program)
    others = rerun(bound_program, first, lambda site: site["value"] + 1)
    assert torch.equal(others.model.nodes["z"]["value"], (first.guide.nodes["u"]["value"] + 1) / 3)
    assert (
        difference(
            first.scores(bound_program.structure),
            rerun(bound_program, first).scores(bound_program.structure),
        )
        is None
    )


@pytest.mark.parametrize(
    "fn",
    [
        dist.Normal(torch.zeros(4), 1.0),
        dist.Bernoulli(torch.full((4,), 1e-3)),
        dist.Categorical(torch.tensor([1.0, 1e-6]).expand(4, 2)),
        dist.OneHotCategorical(torch.tensor([1.0, 1e-6]).expand(4, 2)),
        dist.Dirichlet(torch.ones(4, 3)).mask(False),
        dist.ImproperUniform(dist.constraints.positive, (4,), ()),
    ],
)
def test_other_values_differ_everywhere_and_lie_in_the_support(fn: dist.Distribution) -> None:
    flat = isinstance(fn, dist.ImproperUniform)
    value = torch.ones(4) if flat else fn.sample()
    other = other_value({"name": "z", "fn": fn, "value": value})
    assert other.shape == value.shape
    assert fn.support.check(other).all()
    assert (other != value).reshape(4, -1).any(-1).all()


def test_a_site_without_other_values() -> None:
    class Unknown(dist.Normal):
        support = dist.constraints.dependent

        def sample(self, *_: object) -> Tensor:
            raise NotImplementedError

    with refused("z", expected="can be drawn from"):
        other_value({"name": "z", "fn": Unknown(0.0, 1.0), "value": torch.zeros(())})
