"""The factorisation of a guide claims no independence that the model does not have."""

import random
from collections.abc import Collection, Mapping
from itertools import combinations

import pytest

from pyro_vae.graph.inverse import faithful_inverse

Parents = Mapping[str, Collection[str]]


def separated(parents: Parents, one: str, others: set[str], given: set[str]) -> bool:
    """Whether a model makes a variable independent of others: by paths in the moral ancestral graph."""
    ancestors, open_names = set(), {one, *others, *given}
    while open_names:
        name = open_names.pop()
        ancestors.add(name)
        open_names |= set(parents[name]) - ancestors
    edges = {pair for n in ancestors for pair in combinations(sorted({n, *parents[n]}), 2)}
    reached, frontier = set(), {one}
    while frontier:
        name = frontier.pop()
        reached.add(name)
        near = {a if b == name else b for a, b in edges if name in (a, b)}
        frontier |= near - reached - given
    return reached.isdisjoint(others)


def random_model(seed: int) -> tuple[Parents, list[str], list[str]]:
    """Latents z with edges forwards, and observed x below some of them."""
    chance = random.Random(seed)
    latents = [f"z{i}" for i in range(chance.randint(1, 5))]
    parents = {v: [u for u in latents[:i] if chance.random() < 0.5] for i, v in enumerate(latents)}
    observed = [f"x{i}" for i in range(chance.randint(1, 3))]
    parents |= {x: [u for u in latents if chance.random() < 0.5] for x in observed}
    return parents, latents, observed


@pytest.mark.parametrize("seed", range(200))
def test_every_independence_of_the_guide_is_one_of_the_model(seed: int) -> None:
    parents, latents, observed = random_model(seed)
    inverse = faithful_inverse(parents, [latents])
    assert sorted(inverse) == sorted(latents)
    known = set(observed)
    for name, its_parents in inverse.items():
        assert known >= set(its_parents)
        assert separated(parents, name, known - set(its_parents), set(its_parents))
        for one in its_parents:  # and none is there without need
            assert not separated(parents, name, {one}, set(its_parents) - {one})
        known.add(name)


@pytest.mark.parametrize("seed", range(200))
def test_stages_keep_their_order_and_are_faithful(seed: int) -> None:
    parents, latents, observed = random_model(seed)
    last = latents[::2]
    inverse = faithful_inverse(parents, [last, [v for v in latents if v not in last]])
    assert set(list(inverse)[len(latents) - len(last) :]) == set(last)
    known = set(observed)
    for name, its_parents in inverse.items():
        assert separated(parents, name, known - set(its_parents), set(its_parents))
        known.add(name)


def test_a_parent_may_be_observed() -> None:
    parents = {"y": (), "z": ("y",), "w": ("z",), "alone": ("y",)}
    assert faithful_inverse(parents, [["z", "alone"]]) == {"z": ("y", "w"), "alone": ("y",)}


def test_a_chain_is_drawn_forwards_from_what_is_to_come() -> None:
    parents = {"z1": (), "x1": ("z1",), "z2": ("z1",), "x2": ("z2",), "z3": ("z2",), "x3": ("z3",)}
    assert faithful_inverse(parents, [["z1", "z2", "z3"]]) == {
        "z1": ("x1", "x2", "x3"),
        "z2": ("z1", "x2", "x3"),
        "z3": ("z2", "x3"),
    }


def test_siblings_that_explain_one_observation_see_each_other() -> None:
    inverse = faithful_inverse({"a": (), "b": (), "x": ("a", "b")}, [["a", "b"]])
    assert inverse == {"a": ("x",), "b": ("a", "x")}
