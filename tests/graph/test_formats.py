"""Every format is valid whatever the names, and shows what the picture shows."""

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import contextmanager

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyro_vae.graph import ModelGraph, render_model
from pyro_vae.graph.formats import FORMATS
from pyro_vae.graph.formats.latex import latex
from pyro_vae.graph.formats.painter import Painter, paint

NASTY = [
    'say "z"',
    "it's",
    "a<b>&c;",
    "$x_1^2$ \\alpha {}",
    "100% #1 ~",
    "θ_μ → λ",
    "éàüß",
    "变量",
    "😀 z",
    "end",
    "graph subgraph",
    "a\nb",
    "a\x07b",
    "|x|`y`[z](w)*_",
    "--> ; // %% <!-- -->",
    "x" * 60,
    " padded ",
]
WORDS = {"svg", "tex", "dot", "mmd", "txt", "json"}


def nasty_model():
    total = torch.zeros(())
    for i, name in enumerate(NASTY):
        with pyro.plate(f"{name} plate {i}", 2):
            total = total + pyro.sample(name, dist.Normal(total, 1.0)).sum()
    pyro.factor('f"<&$_', total)


@pytest.fixture(scope="module")
def nasty() -> ModelGraph:
    return render_model(nasty_model, guide=nasty_model)


@pytest.fixture(scope="module")
def drawn(gallery) -> dict[str, ModelGraph]:
    return {name: draw() for name, draw in gallery.GALLERY.items()} | {
        "nasty": render_model(nasty_model)
    }


def unprintable(text):
    return re.search(r"[\x00-\x08\x0b-\x1f]", text)


def test_svg_is_self_contained_and_says_everything(drawn):
    for graph in drawn.values():
        svg = graph.svg
        root = ET.fromstring(svg)  # raises on anything that is no XML
        tags = {element.tag.split("}")[1] for element in root.iter()}
        assert not tags & {"image", "script", "use", "foreignObject", "link"}
        assert "url(" not in svg
        assert "@import" not in svg
        assert "prefers-color-scheme:dark" in svg
        assert root.attrib["role"] == "img"
        texts = [e.text or "" for e in root.iter() if e.tag.endswith("}text")]
        scene = graph.scene
        shown = [t for p in scene.panels for s in p.nodes for t in s.texts]
        printable = [t.text for t in shown if t.text.isprintable()]
        assert set(printable) <= set(texts)
        (title,) = (e for e in root if e.tag.endswith("}title"))
        (words,) = (e for e in root if e.tag.endswith("}desc"))
        assert title.text
        assert all(node.name in words.text for node in graph.model.nodes if node.name.isalnum())


def test_svg_draws_a_shape_a_node_and_a_path_an_edge(drawn):
    for name in ("vae", "eight_schools", "regression"):
        root = ET.fromstring(drawn[name].svg)
        classes = [e.attrib.get("class", "").split() for e in root.iter()]
        model = drawn[name].model
        guide = drawn[name].guide
        parts = [g.grouped() for g in (model, guide) if g is not None]
        assert sum("shape" in c for c in classes) == sum(len(g.nodes) for g in parts)
        assert sum("edge" in c for c in classes) == sum(len(g.edges) for g in parts)


class Counter(Painter):
    """A format that only counts."""

    def __init__(self):
        self.plates, self.outlines, self.arrows, self.texts, self.groups = [], [], [], [], []

    def plate(self, plate):
        self.plates.append(plate.plate.name)

    def outline(self, shape):
        self.outlines.append(shape.node.name)

    def arrow(self, arrow, color):
        self.arrows.append((arrow.edge.source, arrow.edge.target))

    def text(self, text, color, *, covers=False):
        self.texts.append((text.text, color))

    @contextmanager
    def group(self, name):
        self.groups.append(name)
        yield


def test_a_further_format_is_a_painter(drawn):
    counter, graph = Counter(), drawn["regression"]
    paint(graph.scene, counter)
    assert counter.plates == ["data"]
    assert sorted(counter.outlines) == sorted(node.name for node in graph.model.nodes)
    assert sorted(counter.arrows) == sorted((e.source, e.target) for e in graph.model.edges)
    assert counter.groups[0] == "model"
    assert sorted(counter.groups[1:]) == sorted(node.kind for node in graph.model.nodes)
    assert {("y", "ink"), ("small", "paper"), ("40 | –", "quiet")} <= set(counter.texts)  # noqa: RUF001


def test_png_and_pdf_are_those_and_the_same_each_time(drawn):
    png, pdf = drawn["vae"].render("png"), drawn["vae"].render("pdf")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert pdf[:5] == b"%PDF-"
    width, height = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
    scene = drawn["vae"].scene
    assert width == pytest.approx(3 * scene.width, abs=2)
    assert height == pytest.approx(3 * scene.height, abs=2)
    assert drawn["vae"].render("png") == png
    assert drawn["vae"].render("pdf") == pdf


def test_png_survives_any_name_and_a_users_settings():
    import matplotlib as mpl

    def model():
        pyro.sample("$\\frac{1}{$ {", dist.Normal(0.0, 1.0))

    with mpl.rc_context({"text.usetex": True, "font.size": 40, "axes.facecolor": "red"}):
        assert render_model(model).render("png") == render_model(model).render("png")
        assert mpl.rcParams["text.usetex"]


STRING = r'"(?:[^"\\\n]|\\.)*"'
DOT_LINE = re.compile(
    rf"^\s*(digraph {STRING} {{|subgraph \w+ {{|label={STRING};.*|graph \[.*\];"
    rf"|node \[.*\]; edge \[.*\];|subgraph cluster_\w+ {{ label={STRING};.*"
    rf"|\w+ \[label={STRING}, [\w=, .\"#:;]*\];|\w+ -> \w+ \[style=\w+(, label={STRING})?\];|}})$"
)
MERMAID_LABEL = r'"[^"`<>\[\]\n]*(?:<br/>[^"`<>\[\]\n]*)*"'
MERMAID_LINE = re.compile(
    rf"^\s*(flowchart TD|subgraph \w+\[{MERMAID_LABEL}\]|direction TB|end|classDef \w+ .*"
    rf"|class \w+ \w+|\w+ (-->|-\.->)(\|{MERMAID_LABEL}\|)? \w+"
    rf"|\w+(\(\[|\[|\(\(\(){MERMAID_LABEL}(\]\)|\]|\)\)\)))$"
)


def test_dot_is_well_formed(drawn):
    for graph in drawn.values():
        dot = graph.render("dot").decode()
        assert [line for line in dot.splitlines() if not DOT_LINE.match(line)] == []
        bare = re.sub(STRING, "", dot)
        assert bare.count("{") == bare.count("}")


@pytest.mark.skipif(shutil.which("dot") is None, reason="no graphviz")
def test_graphviz_reads_it(drawn):
    for graph in drawn.values():
        run = subprocess.run(["dot", "-Tcanon"], input=graph.render("dot"), capture_output=True)
        assert run.returncode == 0, run.stderr


def test_mermaid_is_well_formed(drawn):
    for graph in drawn.values():
        lines = graph.render("mmd").decode().splitlines()
        assert [line for line in lines if not MERMAID_LINE.match(line)] == []
        opened = sum(line.lstrip().startswith("subgraph ") for line in lines)
        assert opened == sum(line.strip() == "end" for line in lines)


@pytest.mark.parametrize("ending", ["dot", "mmd"])
def test_crossing_plates_are_named_where_boxes_cannot_cross(ending, drawn):
    made = drawn["crossing_plates"].render(ending).decode()
    assert sorted((made.count("users  30"), made.count("items  50"))) == [1, 2]  # a box, and words
    assert made.count("in users  30") + made.count("in items  50") == 2


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX")
@pytest.mark.parametrize("name", ["vae", "deep_markov_model_folded", "partly_observed", "nasty"])
def test_tikz_compiles_to_one_page(name, drawn, tmp_path):
    drawn[name].save(tmp_path / "graph.tex")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "graph.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert run.returncode == 0, run.stdout[-2000:]
    assert "(1 page" in run.stdout
    assert "Overfull" not in run.stdout


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX")
def test_pictures_are_input_into_a_paper(drawn, tmp_path):
    names = ["vae", "nasty"]
    for name in names:
        drawn[name].save(tmp_path / f"{name}.tikz")
    preamble = [
        line.removeprefix("%   ")
        for line in (tmp_path / "vae.tikz").read_text().split("\n")
        if line.startswith("%   ")
    ]
    lines = [r"\documentclass{article}", *preamble, r"\begin{document}"]
    lines += [rf"\resizebox{{5cm}}{{!}}{{\input{{{name}.tikz}}}}" for name in names]
    (tmp_path / "paper.tex").write_text("\n".join([*lines, r"\end{document}"]))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert run.returncode == 0, run.stdout[-2000:]


def test_a_picture_to_input_is_the_page_without_its_preamble(drawn):
    for name in ("vae", "nasty"):
        page, picture = (drawn[name].render(ending).decode() for ending in ("tex", "tikz"))
        body = picture[picture.index(r"\begin{tikzpicture}") :]
        assert body in page
        assert "documentclass" not in picture
        assert r"\begin{document}" not in picture


def test_latex_escapes():
    assert latex("a_b & 5% μ") == r"a\_b\ \&\ 5\%\ \ensuremath{\mu}"
    assert latex("变") == "[U+53D8]"
    assert latex("ő") == "o"


def test_text_shows_plates_parents_and_warnings(drawn):
    text = drawn["eight_schools"].text
    assert "│ ○ theta  Normal(loc, scale), 8 | –  ← mu, tau\n" in text  # noqa: RUF001
    assert "│ ● y" in text
    assert "┌ schools  8" in text
    assert "! whether 'heads'" in drawn["python_branch"].text
    assert "z_t[t-1]" in drawn["deep_markov_model_folded"].text
    assert str(drawn["vae"]) == drawn["vae"].text


def test_json_is_the_dictionary(drawn):
    for graph in drawn.values():
        assert json.loads(graph.render("json")) == graph.to_dict()


@pytest.mark.parametrize("ending", sorted(WORDS - {"json"}))
def test_nasty_names_leave_no_control_characters(ending, nasty):
    assert unprintable(nasty.render(ending).decode()) is None


@pytest.mark.parametrize("ending", sorted(FORMATS))
def test_a_file_of_each_ending(ending, drawn, tmp_path):
    path = tmp_path / f"graph.{ending.upper()}"
    drawn["vae"].save(path)
    assert path.read_bytes() == drawn["vae"].render(ending)


def test_notebooks_get_svg_and_text(drawn):
    bundle = drawn["vae"]._repr_mimebundle_()
    assert bundle["image/svg+xml"].startswith("<svg")
    assert bundle["text/plain"] == drawn["vae"].text


def test_what_is_shown_can_be_switched_off(gallery):
    def texts(**options):
        x = torch.zeros(64, 1, 28, 28)
        scene = render_model(gallery.VAE((1, 28, 28), 20), (x,), **options).scene
        shapes = [t.text for p in scene.panels for s in p.nodes for t in s.texts]
        return shapes + [p.text.text for panel in scene.panels for p in panel.plates]

    everything = texts(render_constraints=True)
    assert {"Normal(loc, scale)", "64 | 20", "in {0, 1}", "data  64", "likelihood"} <= set(
        everything
    )
    assert not any("Normal(" in t for t in texts(render_distributions=False))
    assert not any("|" in t for t in texts(render_shapes=False))
    assert "data" in texts(render_sizes=False)
    assert not {"likelihood", "recognition"} & set(texts(render_params=False))


def test_matplotlib_is_not_imported_for_svg():
    code = (
        "import sys, pyro, pyro.distributions as d\n"
        "from pyro_vae.graph import render_model\n"
        "assert 'fontTools' not in sys.modules\n"
        "g = render_model(lambda: pyro.sample('z', d.Normal(0., 1.)))\n"
        "g.svg, g.text, g.render('tex'), g.render('mmd')\n"
        "assert not {'matplotlib', 'sympy', 'torch._dynamo'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
