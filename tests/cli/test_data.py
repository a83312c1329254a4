"""``pyro-vae data PATH``: how a file would be read, before anything is fitted to it."""

import numpy as np
import pytest
from people import people


def test_a_table_is_shown_column_by_column(here, call):
    frame = people()
    frame.to_csv("people.csv", index=False)
    outcome = call("data people.csv")
    assert outcome.code == 0, outcome.err
    summary, header, *lines = outcome.out.splitlines()
    assert "240 train / 30 validation / 30 test rows of 6" in summary
    assert "columns: 1 real, 1 positive, 1 count, 1 binary, 1 category, 1 date" in summary
    assert header.split() == ["COLUMN", "KIND", "VALUES", "MISSING", "LIKELIHOOD"]
    cells = {line.split()[0]: line.split()[1:] for line in lines}
    assert cells["age"][0] == "real"
    assert cells["income"][::5] == ["positive", "LogNormal"]
    assert cells["visits"][1:4] == ["0", "to", f"{frame['visits'].max():.0f}"]
    assert cells["smoker"] == [
        "binary",
        "no,",
        "yes",
        f"{frame['smoker'].isna().mean():.1%}",
        "Bernoulli",
    ]
    assert cells["job"][:4] == ["category", "clerk,", "cook,", "nurse"]
    assert cells["job"][-1] == "Tokens(num_tokens=3)"
    assert cells["admitted"][1:4] == [frame["admitted"].min(), "to", frame["admitted"].max()]
    assert "--kinds COLUMN=KIND" in outcome.err


def test_its_options_are_those_of_a_fit(here, call):
    people(gaps=0).to_csv("people.csv", index=False)
    outcome = call("data people.csv --kinds visits=real --label job")
    assert "3 classes" in outcome.out
    visits = next(line for line in outcome.out.splitlines() if line.startswith("visits"))
    assert visits.split()[1] == "real"
    wrong = call("data people.csv --kinds visits=rael")
    assert wrong.code == 2
    assert "Did you mean 'real'" in wrong.err
    assert call("data people.csv --kinds visits").code == 2


def test_data_that_are_no_table(here, call):
    np.save("counts.npy", np.random.default_rng(0).poisson(300, (50, 4)))
    assert call("data counts.npy").out.splitlines()[-1] == "likelihood: NegativeBinomial"
    assert "DiscretizedLogistic(levels=17)" in call("data digits").out


def test_wide_tables_are_cut(here, call):
    frame = people(gaps=0)
    for j in range(60):
        frame[f"extra{j}"] = np.linspace(0, 1, len(frame)) ** 2 + j
    frame.to_csv("wide.csv", index=False)
    out = call("data wide.csv").out
    assert len(out.splitlines()) < 50
    assert "... and 26 columns more" in out


@pytest.mark.parametrize("words", ["data {}", "fit --model VAE --data {}"])
@pytest.mark.parametrize("name", ["nope", "nope.tsvv", "digit"])
def test_an_unknown_name_could_be_a_path(call, words, name):
    outcome = call(words.format(name))
    outcome.refuses(repr(name), "or a path: a folder of images, .npy", ".tsv", "`pyro-vae data`")
