"""Made-up rows: as the file could have them, given some columns, given a label."""

import math
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from stories import RNG
from torch import nn

from pyro_vae import InputError, load, synthesize
from pyro_vae.data import DataSet, blank_data_set, metadata_of
from pyro_vae.inference.synthesis.as_in_file import decimals_of
from pyro_vae.inference.synthesis.conditions import number_of
from pyro_vae.inference.synthesis.synthesize import is_poor, resample
from pyro_vae.models import Autoencoder, ConditionalVAE, FactorAnalysis, SemiSupervisedVAE, Table


@pytest.fixture
def people(tmp_path: Path) -> DataSet:
    """Two real columns, a count, a category, and a date."""
    lines = ["height,weight,visits,job,born"]
    for i in range(80):
        height, weight = RNG.normal(size=2)
        job = ("cook", "clerk", "nurse")[i % 3]
        lines.append(f"{height:.2f},{weight:.4f},{30 + i},{job},2001-02-{1 + i % 28:02}")
    (tmp_path / "people.csv").write_text("\n".join(lines))
    return load(str(tmp_path / "people.csv"))


@pytest.fixture
def pairs(tmp_path: Path) -> DataSet:
    rows = RNG.normal(size=(60, 2)) * 3
    (tmp_path / "pairs.csv").write_text("a,b\n" + "\n".join(f"{a},{b}" for a, b in rows))
    return load(str(tmp_path / "pairs.csv"))


class Pair(nn.Module):
    """A user's model: two numbers with correlation 0.8 through one latent."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            loc = torch.stack([z, z], -1)
            pyro.sample("x", dist.Normal(loc, 0.5).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[:, 0], 1.0))


def table_for(data: DataSet) -> Table:
    columns = data.train.columns or ()
    return Table((len(columns),), [column.num_categories for column in columns])


def test_rows_given_a_number_follow_the_conditional(pairs):
    """p(b | a) of a Gaussian pair in closed form: mean 0.8 a, variance 1.25 - 0.8."""
    made = synthesize(Pair(), pairs, 4000, where={"a": 1.0}, seed=3)
    assert bool((made.x[:, 0] == 1.0).all())
    assert made.ess is not None
    error = math.sqrt(0.45 / min(made.ess, 4000))
    low, high = pairs.train.x[:, 1].min(), pairs.train.x[:, 1].max()
    assert low < -2 < 3.5 < high  # the range of the file cuts nothing off
    assert abs(made.x[:, 1].mean().item() - 0.8) < 4.5 * error
    assert abs(made.x[:, 1].var().item() / 0.45 - 1) < 4.5 * math.sqrt(2 / min(made.ess, 4000))


def test_draws_without_a_condition_are_all_from_the_model(pairs):
    made = synthesize(Pair(), pairs, 4000, seed=1)
    assert made.ess is None
    assert abs(made.x[:, 1].mean().item()) < 4.5 * math.sqrt(1.25 / 4000)


def test_rows_look_like_those_of_the_file(people):
    frame = synthesize(table_for(people), people, 300, seed=0).frame()
    assert list(frame) == ["height", "weight", "visits", "job", "born"]
    assert frame["visits"].dtype == np.int64
    assert set(frame["job"]) == {"clerk", "cook", "nurse"}
    assert (frame["height"] == frame["height"].round(2)).all()
    x = people.train.x.double().numpy()
    assert frame["visits"].between(x[:, 2].min(), x[:, 2].max()).all()
    assert frame["born"].str.fullmatch(r"2001-02-\d\d").all()


def test_a_category_and_a_date_can_be_given(people):
    made = synthesize(table_for(people), people, 50, where={"job": "nurse", "born": "2001-02-05"})
    frame = made.frame()
    assert set(frame["job"]) == {"nurse"}
    assert set(frame["born"]) == {"2001-02-05"}


def test_the_same_seed_gives_the_same_rows(people):
    table = table_for(people)
    one, same, other = (synthesize(table, people, 40, seed=s).x for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_labels_are_given_to_a_model_that_takes_them():
    digits = load("digits")
    model = ConditionalVAE((1, 8, 8), 2, num_classes=10)
    made = synthesize(model, digits, 5, label="3")
    assert made.x.shape == (5, 1, 8, 8)
    assert made.ess is None
    drawn = synthesize(SemiSupervisedVAE((1, 8, 8), 2, num_classes=10), digits, 5, label=3)
    assert drawn.ess == pytest.approx(100)  # the probability of a label is the same for all draws


def test_weights_choose_rows_in_proportion():
    log_weights = torch.tensor([0.1, 0.2, 0.7]).log()
    chosen, ess, _ = resample(log_weights, 1000, torch.Generator().manual_seed(0))
    assert torch.bincount(chosen).tolist() == pytest.approx([100, 200, 700], abs=1)
    assert ess == pytest.approx(1 / (0.01 + 0.04 + 0.49))


def test_few_weights_are_told(pairs):
    assert is_poor(synthesize(Pair(), pairs, 200, where={"a": 8.0}))
    assert not is_poor(synthesize(Pair(), pairs, 200, where={"a": 0.5}))


def test_decimals():
    assert decimals_of(np.array([1.0, 250.0])) == 0
    assert decimals_of(RNG.normal(size=5)) is None


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"jobs": "cook"}, "height"),
        ({"job": "pilot"}, "clerk"),
        ({"height": "tall"}, "a number"),
        ({"born": "spring"}, "a date"),
    ],
)
def test_wrong_conditions_are_refused(people, where, expected):
    with refused("where", expected=expected):
        synthesize(table_for(people), people, 5, where=where)


def test_wrong_models_and_labels_are_refused(people):
    digits = load("digits")
    with refused("label", expected="0"):
        synthesize(ConditionalVAE((1, 8, 8), 2, num_classes=10), digits, 5, label="12")
    with refused("label", remedy="where"):
        synthesize(table_for(people), people, 5, label="cook")
    with refused("num", expected=""):
        synthesize(table_for(people), people, 0)
    with refused("where", remedy="per_class"):
        synthesize(ConditionalVAE((1, 8, 8), 2, num_classes=10), digits, 5, where={"a": 1})
    with pytest.raises(InputError, match="ImproperUniform"):
        synthesize(Autoencoder((1, 8, 8), 2), digits, 5)
    assert number_of((people.train.columns or ())[3], "nurse") == 2


def test_the_program_and_the_generator_are_as_they_were(pairs):
    model, before = FactorAnalysis((2,), 1), torch.get_rng_state()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    synthesize(model, pairs, 10, where={"b": 0.3})
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())


def test_given_numbers_come_out_as_given_and_only_where_there_are_rows(people):
    table = table_for(people)
    made = synthesize(table, people, 5, where={"height": 0.125, "born": "2001-02-03"}).frame()
    assert set(made["height"]) == {0.125}  # the file has two decimals
    assert {str(day)[:10] for day in made["born"]} == {"2001-02-03"}
    for where in ({"height": 1e9}, {"visits": 1e4}, {"born": "1999-01-01"}):
        with refused("where", expected="a value from"):
            synthesize(table, people, 5, where=where)
    with refused("where", expected="a whole number"):
        synthesize(table, people, 5, where={"visits": 40.5})


def test_without_the_data_numbers_are_as_drawn(people):
    table, blank = table_for(people), blank_data_set("people", metadata_of(people))
    made = synthesize(table, blank, 50, where={"job": "cook"})
    assert set(made.frame()["job"]) == {"cook"}
    assert made.x[:, :3].std(0).min() > 0  # and not at the ends of a range of no rows


def test_data_are_a_data_set(people):
    with refused("data", remedy="load"):
        synthesize(table_for(people), people.train.read(), 5)


def test_decimals_of_large_numbers_that_went_through_float32() -> None:
    money = np.exp(RNG.normal(8, 1, 400)).round(2).astype(np.float32).astype(float)
    assert money.max() > 2**14  # where float32 has no hundredths
    assert decimals_of(money) == 2
    assert decimals_of(np.array([190_000.0, 190_000.0])) is None  # chance would do the same
    assert decimals_of(RNG.normal(size=50) * 1e5) is None
    assert decimals_of(np.zeros(4)) == 0
