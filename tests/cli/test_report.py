"""``pyro-vae report``: one page for a run, or for several side by side."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from refused import refused

from pyro_vae import report
from pyro_vae.cli.run.fit_record import RECORD
from pyro_vae.cli.run.folder import CONFIG

FA = "fit --model FactorAnalysis --data table.csv --batch_size 16 --epochs 2"
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """A page as a reader meets it: its texts by heading, its pictures, and whether its tags balance."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.alternatives: list[str | None] = []
        self.num_diagrams = 0
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        assert tag not in ("script", "link", "iframe", "object")
        for name, value in attrs:
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href"):
                assert value.startswith(("data:image/png;base64,", "#"))
        if tag == "img":
            self.alternatives.append(dict(attrs).get("alt"))
        self.num_diagrams += tag == "svg"

    def handle_startendtag(self, tag, attrs):
        assert "svg" in self.open or tag in VOID, tag

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)
        if self.open and self.open[-1] == "style":
            assert not re.search(r"url\(|@import", data)
        self.texts.append(data)

    def __contains__(self, text: str) -> bool:
        return text in " ".join(" ".join(self.texts).split())


def read(path: str | Path = "report.html") -> Page:
    text = Path(path).read_text(encoding="utf-8")
    assert len(text) < 2_000_000
    return Page(text)


def test_a_run_is_one_page(call, vae):
    outcome = call("report runs/vae --evidence --out report.html")
    assert (outcome.code, outcome.out) == (0, "report.html\n")
    page = read()
    assert page.headings[0] == "Report on vae"
    assert {"Samples", "Reconstructions", "Evidence, as kept with the run", "Data"} <= set(
        page.headings
    )
    for heading in ("Frechet distance", "precision", "MSE", "rate", "active units"):
        assert heading in page
    assert len(page.alternatives) == 3
    assert all(page.alternatives)
    assert page.num_diagrams == 1
    record = json.loads(Path("runs/vae", RECORD).read_text())
    for text in (
        "pyro_vae.models.VAE", "1,397 train / 200 validation / 200 test", record["verdict"],
        *record["notes"], record["versions"]["torch"], "No estimate of log p(x)",
        "A quick estimate from 200 draws, of 200 held-out rows", "latent_dim: 2",
    ):  # fmt: skip
        assert text in page, text


def test_the_configuration_on_the_page_repeats_the_fit(call, vae):
    assert call("report runs/vae").code == 0
    text = Path("report.html").read_text()
    config = re.search(r"The configuration</summary><pre>(.*?)</pre>", text, re.S)
    Path("config.yaml").write_text(config[1])
    command = re.search(r'<pre class="command">pyro-vae (.*?)</pre>', text)[1]
    assert call(command).code == 0
    assert (
        Path("runs/vae-again/metrics.jsonl").read_text()
        == Path("runs/vae/metrics.jsonl").read_text()
    )


def test_the_same_call_writes_the_same_page_and_keeps_the_generators(call, vae):
    import torch

    before = torch.get_rng_state()
    for name in ("one.html", "two.html"):
        assert report("runs/vae", name, evidence=True, seed=3) == Path(name)
    assert Path("one.html").read_bytes() == Path("two.html").read_bytes()
    assert torch.equal(before, torch.get_rng_state())


def test_an_evidence_in_the_folder_is_on_the_page(call, vae):
    out = "--num_particles 50 --out runs/vae/evidence.json"
    assert call("evidence runs/vae", out).code == 0
    figures = json.loads(Path("runs/vae/evidence.json").read_text())
    assert call("report runs/vae").code == 0
    page = read()
    assert f"{figures['mean']:.3f} nats" in page
    assert f"at least {figures['certificate_95']:.3f} nats a unit" in page
    for sentence in (*figures["notes"], *figures["warnings"]):
        assert sentence in page


def test_what_files_say_is_escaped(call, vae):
    evil = "</p><script>alert(1)</script>"
    record = json.loads(Path("runs/vae", RECORD).read_text())
    Path("runs/vae", RECORD).write_text(json.dumps(record | {"notes": [evil], "verdict": evil}))
    call("evidence runs/vae --num_particles 20 --out runs/vae/evidence.json")
    figures = json.loads(Path("runs/vae/evidence.json").read_text())
    figures |= {"method": evil, "notes": [evil], "warnings": [evil]}
    Path("runs/vae/evidence.json").write_text(json.dumps(figures))
    table = "age,<b onclick='x'>\n" + "".join(f"{i % 9},{i % 7}\n" for i in range(60))
    Path("a&<i>.csv").write_text(table)
    fit = ["fit", "--model", "FactorAnalysis", "--epochs", "1", "--model.latent_dim", "1"]
    assert call(*fit, "--data a&<i>.csv --out runs/<i>x").code == 0
    assert call("report runs/vae runs/<i>x").code == 0
    text = Path("report.html").read_text()
    assert not re.search(r"<script|<i>|<b ", text)
    assert (
        text.count("alert(1)") == 4
    )  # once of the record, which says it twice; three times of the evidence
    read()


def test_runs_stand_side_by_side_with_their_comparison(call):
    for dim in (1, 2):
        assert call(FA, f"--model.latent_dim {dim} --out runs/fa{dim}").code == 0
    assert call(FA, "--model.latent_dim 1 --data_seed 5 --out runs/other").code == 0
    assert call("report runs/fa1 runs/fa2 --evidence --out same.html").code == 0
    page = read("same.html")
    assert page.headings[0] == "Report on fa1 and fa2"
    assert "2 models compared by log p(data), in nats, of all 6 rows" in page
    assert page.num_diagrams == 2
    assert call("report runs/fa1 runs/other --evidence --out other.html").code == 0
    assert "The runs are not compared: the observed values of" in read("other.html")


def test_a_part_that_a_run_cannot_have_is_a_sentence(call, here):
    flow = "fit --model FlowDensity --data table.csv --epochs 1 --out runs/flow"
    assert call(flow).code == 0
    assert call("report runs/flow").code == 0
    assert "Not here: " in read()
    Path("table.csv").unlink()
    assert call("report runs/flow --evidence --overwrite").code == 0
    page = read()
    assert "The run's data are not there: there is no" in page
    assert page.num_diagrams == 1


def test_own_code_runs_only_if_it_is_named(call, vae):
    fit = "fit --model my_model.MyVAE --data digits --epochs 1 --out runs/mine"
    assert call(fit).code == 0
    call("report runs/mine").refuses("my_model.MyVAE")
    assert call("report runs/vae runs/mine --model my_model.MyVAE").code == 0
    import my_model

    assert report("runs/mine", "mine.html", parts=[my_model.MyVAE]).exists()
    with refused("parts", remedy="parts=[MyVAE]"):
        report("runs/mine", "again.html")
    assert not Path("again.html").exists()


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("report", ["run"]),
        ("report runs/nowhere", ["runs/nowhere"]),
        ("report runs/vae runs/vae", ["runs/vae", "twice"]),
        ("report runs/vae --out there.html", ["there.html", "--overwrite"]),
        ("report runs/vae --out page.pdf", ["page.pdf", ".html"]),
        ("report runs/vae --out no/page.html", ["no"]),
        ("report runs/vae --seed x", ["--seed"]),
    ],
)
def test_wrong_use_is_one_sentence(call, vae, words, names):
    Path("there.html").write_text("mine")
    call(words).refuses(*names)
    assert Path("there.html").read_text() == "mine"
    assert not list(Path().glob("report.html"))


@pytest.mark.parametrize("content", ["{", "[]", '{"verdict": 1}', "\udcff"])
def test_a_damaged_file_of_a_run_is_named(call, vae, content):
    path = Path("runs/vae", RECORD)
    path.write_bytes(content.encode(errors="surrogateescape"))
    call("report runs/vae").refuses(RECORD)


@pytest.mark.parametrize("content", ["{", "[]", '{"mean": 1}'])
def test_a_file_that_is_no_evidence_is_said_to_be_none(call, vae, content):
    Path("runs/vae/evidence-x.json").write_text(content)
    assert call("report runs/vae").code == 0
    assert "evidence-x.json" in read()


def test_wrong_arguments_in_python(vae):
    with refused("runs"):
        report([], "a.html")
    with refused("nowhere"):
        report("nowhere", "a.html")
    with refused("out"):
        report(vae, "a.pdf")
    Path("a.html").write_text("mine")
    with refused("out"):
        report(vae, "a.html")
    assert report(vae, "a.html", overwrite=True).stat().st_size > 10_000


def test_a_run_that_was_continued_keeps_the_whole_time(call, vae):
    before = json.loads(Path("runs/vae", RECORD).read_text())["seconds"]
    shutil.copytree("runs/vae", "runs/longer")
    assert call("fit --resume runs/longer --epochs 3").code == 0
    after = json.loads(Path("runs/longer", RECORD).read_text())["seconds"]
    assert after > before > 0
    assert "epochs: 3" in Path("runs/longer", CONFIG).read_text()


@pytest.mark.slow
def test_a_gan_is_weighed_by_annealing_and_has_the_metrics_of_samples(call) -> None:
    fit = "fit --model GAN --model.latent_dim 2 --data digits --epochs 1 --elbo Adversarial"
    assert call(fit, "--elbo.with_noise false --out runs/gan").code == 0
    outcome = call("report runs/gan --evidence --out report.html")
    assert outcome.code == 0, outcome.err
    page = read()
    assert "from 4 annealed chains, of 100 held-out rows" in page
    assert "Frechet distance" in page
    assert "active units" not in page  # it infers no latents
    assert "rate" not in page.texts
    assert "Not here: the model was fitted without a guide" in page  # no reconstructions
    words = "--model.latent_dim 2 --model.likelihood FixedScaleNormal --epochs 1 --out runs/vae"
    assert call("fit --model VAE --data digits", words).code == 0
    assert call("report runs/gan runs/vae --evidence --out two.html").code == 0
    assert "2 models compared by log p(data), in nats, of all 100 rows" in read("two.html")
