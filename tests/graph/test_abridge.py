"""A loop longer than a page: its first, second and last steps, with the number of those left out."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from diagrams import chain, edges, normal
from pyro.infer.autoguide import AutoNormal

from pyro_vae.graph import Graph, render_model
from pyro_vae.graph.abridge import MAX_STEPS

LONG = MAX_STEPS + 1


def shown(model: Any, **options: Any) -> Graph:
    return render_model(model, **options).shown.graphs["model"]


def test_a_long_chain_shows_its_first_second_and_last_steps() -> None:
    graph = render_model(chain(200))
    drawn = graph.shown.graphs["model"]
    assert [n.name for n in drawn.nodes if n.name.startswith("z")] == [
        "z_0",
        "z_1",
        "z_2 … z_198",
        "z_199",
    ]
    assert edges(drawn) == {
        ("z_0", "z_1"),
        ("z_1", "z_2 … z_198"),
        ("z_2 … z_198", "z_199"),
        ("z_0", "x_0"),
        ("z_1", "x_1"),
        ("z_2 … z_198", "x_2 … x_198"),
        ("z_199", "x_199"),
    }
    gap = drawn.by_name["z_2 … z_198"]
    assert gap.sites == tuple(f"z_{t}" for t in range(2, 199))
    assert len(graph.model.nodes) == len(graph.to_dict()["model"]["nodes"]) == 400


@pytest.mark.parametrize("ending", ["svg", "tex", "dot", "mmd", "txt"])
def test_every_format_says_how_many_steps_are_left_out(ending: str) -> None:
    assert render_model(chain(200)).render(ending).decode().count("197") >= 2


def test_a_full_picture_and_a_folded_one_can_be_asked_for() -> None:
    assert len(shown(chain(LONG), fold=False).nodes) == 2 * LONG
    assert len(shown(chain(LONG), fold=True).nodes) == 2
    assert len(shown(chain(LONG)).nodes) == 8
    assert len(shown(chain(MAX_STEPS)).nodes) == 2 * MAX_STEPS
    assert "left out" not in render_model(chain(LONG), fold=False).text


def test_the_steps_of_states_and_data_stand_side_by_side() -> None:
    (panel,) = render_model(chain(50)).scene.panels
    heights = {shape.node.name[0]: set() for shape in panel.nodes}
    for shape in panel.nodes:
        heights[shape.node.name[0]].add(round(shape.center[1], 6))
    assert {name: len(places) for name, places in heights.items()} == {"z": 1, "x": 1}


def test_states_and_data_leave_out_the_same_steps_though_states_have_one_more() -> None:
    def model():
        z = normal("z_0", 0.0)
        for t in range(1, 31):
            z = normal(f"z_{t}", z)
            normal(f"x_{t}", z, obs=torch.zeros(()))

    names = {node.name for node in shown(model).nodes}
    assert {"z_3 … z_29", "x_3 … x_29"} < names
    assert {name for name in names if "…" not in name} == {
        *("z_0", "z_1", "z_2", "z_30"),
        *("x_1", "x_2", "x_30"),
    }


def test_a_guide_leaves_out_the_same_steps() -> None:
    model = chain(40)
    graphs = render_model(model, guide=AutoNormal(model), fold_guide=False).shown.graphs
    latents = [{n.name for n in g.nodes if n.kind == "latent"} for g in graphs.values()]
    assert latents[0] == latents[1] == {"z_0", "z_1", "z_2 … z_38", "z_39"}
    boxes = [n.name for n in graphs["guide"].nodes if n.kind == "parameters"]
    assert "locs.z_2 … locs.z_38" in boxes


def test_plates_of_single_steps_become_one() -> None:
    def model():
        for t in range(20):
            with pyro.plate(f"notes_{t}", 5):
                normal(f"x_{t}", 0.0)

    assert {p.name: p.size for p in shown(model).plates} == {
        "notes_0": 5,
        "notes_1": 5,
        "notes_2 … notes_18": 5,
        "notes_19": 5,
    }


def test_plates_of_several_sizes_become_one_without_a_size() -> None:
    def model():
        for t in range(20):
            with pyro.plate(f"notes_{t}", t + 2):
                normal(f"x_{t}", 0.0)

    assert {p.name: p.size for p in shown(model).plates}["notes_2 … notes_18"] is None


def test_a_plate_of_the_whole_loop_stays() -> None:
    def model():
        for i in pyro.plate("steps", 20):
            normal(f"x_{i}", 0.0)

    drawn = shown(model)
    assert [n.plates for n in drawn.nodes] == [("steps",)] * 4
    assert [(p.name, p.size) for p in drawn.plates] == [("steps", 20)]


def test_marks_of_steps_left_out_stay() -> None:
    def model():
        for t in range(20):
            with pyro.poutine.scale(scale=2.0 if t == 7 else 1.0):
                normal(f"x_{t}", 0.0, obs=torch.zeros(()) if t != 8 else None)

    gap = shown(model).by_name["x_2 … x_18"]
    assert gap.kind == "partially_observed"
    assert gap.marks == ("17 steps", "scaled")


def test_many_sites_on_one_page_are_no_long_loop(gallery: Any) -> None:
    graph = gallery.GALLERY["forty_sites"]()
    assert graph.shown.graphs["model"] is graph.model


def test_sites_that_are_not_alike_all_appear() -> None:
    def model():
        z = torch.ones(())
        for t in range(20):
            kind = dist.Gamma if t % 2 else dist.Weibull
            z = pyro.sample(f"z_{t}", kind(z, 1.0))

    assert len(shown(model).nodes) == 20
