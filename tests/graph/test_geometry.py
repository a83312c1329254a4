"""Measure the layout: no program's picture has the faults that a reader would see."""

from itertools import combinations
from math import inf

import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_vae.graph import render_model
from pyro_vae.graph.graph import Edge, Graph, Node, Plate
from pyro_vae.graph.layout import arrange
from pyro_vae.graph.layout.arrange import _PanelPlan
from pyro_vae.graph.layout.distances import _least_distance, least_distances
from pyro_vae.graph.layout.fonts import text_width
from pyro_vae.graph.layout.rows import model_rows
from pyro_vae.graph.view import View


def points_on(arrow):
    """Return points along the route as drawn, with rounded bends."""
    (here,), *steps = arrow.path
    for step in steps:
        control, end = step if len(step) == 2 else (None, step[0])
        for i in range(41):
            s = i / 40
            if control is None:
                yield here[0] + s * (end[0] - here[0]), here[1] + s * (end[1] - here[1])
            else:
                yield tuple(
                    (1 - s) ** 2 * a + 2 * s * (1 - s) * b + s**2 * c
                    for a, b, c in zip(here, control, end, strict=True)
                )
        here = end


def is_inside(shape, x, y):
    (cx, cy), width, height = shape.center, shape.rect.width / 2, shape.rect.height / 2
    dx, dy = abs(x - cx) / width, abs(y - cy) / height
    return dx**2 + dy**2 < 1 if shape.outline == "ellipse" else max(dx, dy) < 1


def corners(rect):
    return [(x, y) for x in (rect.left, rect.right) for y in (rect.top, rect.bottom)]


def faults(scene):
    """Return all faults of a picture in words."""
    for panel in scene.panels:
        yield from node_faults(panel)
        yield from plate_faults(panel)
        for arrow in panel.arrows:
            ends = (arrow.edge.source, arrow.edge.target)
            foreign = [s for s in panel.nodes if s.node.name not in ends]
            for shape in foreign:
                if any(is_inside(shape, x, y) for x, y in points_on(arrow)):
                    yield f"edge {ends} runs through {shape.node.name}"
        texts = [t for s in panel.nodes for t in s.texts] + [p.text for p in panel.plates]
        rects = [t.rect for t in texts] + [p.rect for p in panel.plates]
        if any(r.left < 0 or r.top < 0 or r.right > scene.width for r in rects):
            yield "something leaves the picture"


def node_faults(panel):
    for i, shape in enumerate(panel.nodes):
        for other in panel.nodes[i + 1 :]:
            if shape.rect.overlaps(other.rect):
                yield f"{shape.node.name} overlaps {other.node.name}"
        for text in shape.texts:
            inside = (is_inside(shape, *corner) for corner in corners(text.rect))
            if not all(inside):
                yield f"{text.text!r} leaves its outline"
        for plate in panel.plates:
            name = f"{shape.node.name} and plate {plate.plate.name}"
            if shape.node.name in plate.members and not plate.rect.holds(shape.rect):
                yield f"{name}: outside"
            if shape.node.name not in plate.members and plate.rect.overlaps(shape.rect):
                yield f"{name}: inside"
            if plate.text.rect.overlaps(shape.rect):
                yield f"{name}: on its label"


def plate_faults(panel):
    for i, plate in enumerate(panel.plates):
        if not plate.rect.holds(plate.text.rect):
            yield f"{plate.text.text!r} leaves its plate"
        for other in panel.plates[i + 1 :]:
            if plate.text.rect.overlaps(other.text.rect):
                yield f"labels of {plate.plate.name} and {other.plate.name} overlap"
            if plate.rect.overlaps(other.rect) and not plate.members & other.members:
                yield f"plates {plate.plate.name} and {other.plate.name} overlap for nothing"
    names = [plate.plate.name for plate in panel.plates]
    yield from (f"plate {name} is drawn in parts" for name in set(names) if names.count(name) > 1)


def names():
    from pathlib import Path

    text = (Path(__file__).parents[2] / "examples" / "gallery.py").read_text()
    return [part.split("(")[0] for part in text.split("@picture\ndef ")[1:]]


@pytest.mark.parametrize("name", names())
def test_gallery(name, gallery):
    assert list(faults(gallery.GALLERY[name]().scene)) == []


@pytest.mark.parametrize("name", names())
def test_gallery_with_names_alone(name, gallery):
    graph = gallery.GALLERY[name]()
    view = View(distributions=False, shapes=False, sizes=False)
    assert list(faults(arrange(graph.model, graph.guide, (), "", view))) == []


@pytest.mark.parametrize("name", ["vae", "hierarchical_vae", "auto_normal", "deep_markov_model"])
def test_guide_and_model_have_the_same_latents_on_the_same_level(name, gallery):
    model, guide = gallery.GALLERY[name]().scene.panels
    levels = {shape.node.name: shape.center[1] for shape in model.nodes}
    shared = [shape for shape in guide.nodes if shape.node.kind == "latent"]
    assert shared
    for shape in shared:
        names = [name for name in (shape.node.name, *shape.node.sites) if name in levels]
        assert min(levels[name] for name in names) == pytest.approx(shape.center[1])


def test_labels_are_measured_with_the_fonts_own_advances():
    from fontTools.ttLib import TTFont

    from pyro_vae.graph.layout.fonts import _font_file

    font = TTFont(_font_file())
    advances, glyphs = font["hmtx"], font.getBestCmap()
    for character in "aWi_→μ≤|8ßé":
        advance, _ = advances[glyphs[ord(character)]]
        assert text_width(character, font["head"].unitsPerEm) == pytest.approx(advance)


def test_edges_of_several_lags_share_an_arrow():
    nodes = (Node("z", "latent", "Normal"), Node("x", "observed", "Normal"))
    edges = [Edge("z", "z", lag=1), Edge("z", "z", lag=2), Edge("z", "x"), Edge("z", "x", lag=1)]
    scene = arrange(Graph(nodes, (), ()).with_edges(*edges), None, (), "", View())
    (panel,) = scene.panels
    labels = {(a.edge.source, a.edge.target): a.text and a.text.text for a in panel.arrows}
    assert labels == {("z", "z"): "t−1, t−2", ("z", "x"): "t, t−1"}  # noqa: RUF001
    assert list(faults(scene)) == []


def nodes_in(draw, count, plates):
    """Return random nodes, each in a random set of plates."""
    subsets = st.lists(st.sampled_from(plates), unique=True) if plates else st.just([])
    return [
        Node(f"n{i}", "latent", "Normal", ("loc",), (2,), (), tuple(sorted(draw(subsets))))
        for i in range(count)
    ]


@st.composite
def graphs(draw, crossing):
    plates = ["A", "B", "C"][: draw(st.integers(0, 3 if crossing else 2))]
    nodes = nodes_in(draw, draw(st.integers(1, 9)), plates)
    if not crossing:  # B inside A
        nest = {(): (), ("A",): ("A",), ("B",): ("A", "B"), ("A", "B"): ("A", "B")}
        nodes = [Node(n.name, n.kind, n.distribution, plates=nest[n.plates]) for n in nodes]
    pairs = [(i, j) for j in range(len(nodes)) for i in range(j)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=12)) if pairs else []
    used = [Plate(p, 3, 3) for p in plates if any(p in n.plates for n in nodes)]
    return Graph(tuple(nodes), (), tuple(used)).with_edges(
        *(Edge(f"n{i}", f"n{j}") for i, j in chosen)
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(graphs(crossing=False))
def test_any_graph_with_nested_plates(graph):
    assert list(faults(arrange(graph, None, (), "", View()))) == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(graphs(crossing=True))
def test_any_graph_with_crossing_plates(graph):
    """Rectangles cannot show every family of sets; only where they cannot, plates are drawn in parts."""
    found = list(faults(arrange(graph, None, (), "", View())))
    assert [f for f in found if "in parts" not in f and "label" not in f] == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.booleans().flatmap(lambda crossing: graphs(crossing=crossing)))
def test_distances_that_are_left_out_follow_from_the_others(graph):
    plan = _PanelPlan.of("model", graph, model_rows(graph), True, View())
    order, boxes = plan.order, plan.boxes
    around = {n: [m for m in plan.margins if n in m.reach] for n in order.names}
    longest = {}  # from one node over others to a further one
    distances = least_distances(order, boxes, plan.margins)
    for j in range(len(order.names)):
        longest[j, j] = 0.0
        for i in reversed(range(j)):
            over = [longest.get((i, k), -inf) + d for (k, to), d in distances.items() if to == j]
            longest[i, j] = max(over, default=-inf)
    for i, j in combinations(range(len(order.names)), 2):
        distance = _least_distance(order.names[i], order.names[j], order, boxes, around)
        assert distance is None or distance <= longest[i, j] + 1e-9


def test_a_name_of_sixty_letters_stays_inside():
    def model():
        with pyro.plate("p" * 60, 2):
            pyro.sample("W" * 60, dist.Normal(torch.zeros(2), 1.0))

    assert list(faults(render_model(model).scene)) == []


@pytest.mark.parametrize("fold", [None, False])
def test_long_chains(fold):
    def model():
        weight = pyro.param("weight", torch.ones(()))
        z = torch.zeros(())
        for t in range(30):
            z = pyro.sample(f"z_{t}", dist.Normal(weight * z, 1.0))
            with pyro.plate(f"notes_{t}", 2):
                pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=torch.zeros(2))

    assert list(faults(render_model(model, fold=fold).scene)) == []


def test_many_edges_past_a_column_do_not_lie_on_one_another() -> None:
    def dense():
        zs = [torch.zeros(())]
        for t in range(20):
            zs.append(pyro.sample(f"z_{t}", dist.Normal(sum(zs), 1.0)))

    scene = render_model(dense, fold=False).scene
    assert list(faults(scene)) == []
    (panel,) = scene.panels
    assert len(panel.arrows) == 190
    assert len({arrow.points[len(arrow.points) // 2] for arrow in panel.arrows}) == 190
    assert all(0 < x < scene.width for arrow in panel.arrows for x, _ in arrow.points)
