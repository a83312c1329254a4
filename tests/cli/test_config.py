"""The configuration of a fit: to YAML and back, completed from the data, and the model that it builds."""

import inspect

import pytest
import torch
import yaml
from refused import refused

import pyro_vae.models
from pyro_vae.cli.options.from_data import size_arguments
from pyro_vae.cli.options.likelihood import likelihood_for
from pyro_vae.cli.options.model import find_class
from pyro_vae.cli.run.config import FitConfig
from pyro_vae.cli.run.model_inputs import unbounded_density_note
from pyro_vae.data import Argument, Column, DataSet, Kind, Split, ValueRange, load
from pyro_vae.likelihoods import FixedScaleNormal
from pyro_vae.models import VAE, FactorAnalysis, FlowDensity
from pyro_vae.networks import ConvEncoder

WORDS = """
    --model VAE --data digits --model.latent_dim 3 --model.likelihood FixedScaleNormal
    --model.likelihood.scale 0.5 --model.encoder ConvEncoder --model.encoder.channels [4,8]
    --optimizer SGD --optimizer.lr 1e-5 --lr_schedule StepLR --lr_schedule.step_size 3 --epochs 7
    --elbo TraceMeanField_ELBO --clip_norm 10 --patience 4 --seed 5
"""


def configured(words, config=None):
    return FitConfig.read(words.split(), config)


def test_yaml_holds_everything_and_reads_back_the_same():
    text = configured(WORDS).to_yaml()
    assert configured("", yaml.safe_load(text)).to_yaml() == text
    options = yaml.safe_load(text)
    assert options["model"]["class_path"] == "pyro_vae.models.VAE"
    assert options["model"]["init_args"]["likelihood"]["init_args"] == {"scale": 0.5}
    assert options["optimizer"]["init_args"]["lr"] == 1e-5
    assert {"data", "binarize", "data_seed", "batch_size", "seed", "beta"} <= options.keys()


def test_what_tests_and_benchmarks_set_is_no_option():
    config = configured(WORDS)
    assert "control" not in config.to_dict()
    assert config.fit_options().keys() == {
        *(
            "epochs",
            "steps",
            "averaging",
            "restarts",
            "batch_size",
            "shuffle",
            "optimizer",
            "lr_schedule",
            "elbo",
            "beta",
            "kl_warmup",
        ),
        *("clip_norm", "patience", "keep_best", "seed", "device", "compile", "precision"),
    }
    with refused("--control.save_every"):
        configured(f"{WORDS} --control.save_every 3")


def test_the_command_line_overrides_a_configuration():
    config = configured(WORDS).to_dict()
    changed = configured("--epochs 9 --model.latent_dim 5", config)
    assert (changed.options.epochs, changed.options.model.latent_dim) == (9, 5)
    assert changed.options.seed == 5
    assert changed.options.model.encoder.init_args.channels == [4, 8]


def test_another_model_does_not_inherit_the_options_of_the_first():
    config = configured(WORDS).to_dict()
    changed = configured("--model FactorAnalysis", config)
    assert changed.model is FactorAnalysis
    assert changed.to_dict()["model"]["init_args"] == {"latent_dim": 2, "isotropic": False}


def test_parts_are_made_with_their_options_and_the_shape_of_the_data():
    config, data = configured(WORDS), load("digits")
    vae = config.build(data)
    assert isinstance(vae, VAE)
    assert isinstance(vae.likelihood, FixedScaleNormal)
    assert vae.likelihood.scale == 0.5
    assert isinstance(vae.recognition.encoder.network, ConvEncoder)
    assert vae.likelihood(torch.zeros(2, 3)).event_shape == (1, 8, 8)
    kwargs = config.fit_options()
    assert kwargs["epochs"] == 7
    assert isinstance(kwargs["optimizer"](vae.parameters()), torch.optim.SGD)


def test_the_seed_decides_where_the_parameters_start():
    data = load("digits")

    def start(seed):
        model = configured(f"--model VAE --model.likelihood Normal --seed {seed}").build(data)
        return torch.nn.utils.parameters_to_vector(model.parameters())

    assert torch.equal(start("1"), start("1"))
    assert not torch.equal(start("1"), start("2"))


ROWS = {
    "reals": torch.linspace(-2, 3, 60).reshape(20, 3),
    "unit": torch.linspace(0.1, 0.9, 60).reshape(20, 3),
    "grey": torch.linspace(0.1, 0.9, 180).reshape(20, 1, 3, 3),
    "counts": 100 * torch.arange(60.0).square().reshape(20, 3),
    "grades": 1 + torch.arange(300.0).reshape(100, 3) % 5,
}


@pytest.mark.parametrize(
    ("x", "levels", "likelihood", "arguments"),
    [
        ("unit", 2, "Bernoulli", {}),
        ("unit", 17, "DiscretizedLogistic", {"levels": 17}),
        ("unit", None, "HeteroscedasticNormal", {}),
        ("grey", None, "ContinuousBernoulli", {}),
        ("reals", None, "HeteroscedasticNormal", {}),
        ("counts", None, "NegativeBinomial", {}),
        ("grades", None, "Tokens", {"num_tokens": 6}),
    ],
)
def test_the_likelihood_follows_the_values(x, levels, likelihood, arguments):
    rows = ROWS[x]
    split = Split(rows, ValueRange(float(rows.min()), float(rows.max()), levels))
    chosen = likelihood_for(DataSet("rows", split, None, split))
    assert chosen == {"class_path": f"pyro_vae.likelihoods.{likelihood}", "init_args": arguments}


def test_images_of_real_values_share_a_scale():
    split = Split(torch.randn(20, 1, 3, 3), ValueRange(-2.0, 3.0))
    chosen = likelihood_for(DataSet("images", split, None, split))
    assert chosen["class_path"] == "pyro_vae.likelihoods.Normal"


def completed(words, data):
    """The model's options with what the data say, and that in words."""
    config, note = configured(words).completed(data)
    return config.to_dict()["model"]["init_args"], note


def of_class(part):
    return part["class_path"].rpartition(".")[2]


def test_only_an_open_likelihood_is_chosen():
    digits = load("digits")
    arguments, note = completed("--model VAE", digits)
    assert arguments["likelihood"] == likelihood_for(digits)
    assert note.startswith(
        "likelihood: DiscretizedLogistic, encoder: ConvEncoder, decoder: ConvDec"
    )
    assert note.endswith(", as the data are images of 17 levels in [0, 1]")
    arguments, _ = completed("--model VAE --model.likelihood Normal", digits)
    assert of_class(arguments["likelihood"]) == "Normal"
    assert completed("--model FactorAnalysis", digits) == (
        {"latent_dim": 2, "isotropic": False},
        None,
    )
    config, _ = configured("--model VAE").completed(digits)
    again, note = config.completed(digits)
    assert (again.to_dict(), note) == (config.to_dict(), None)
    assert configured("", config.to_dict()).completed(digits)[1] is None
    assert configured("", config.to_dict()).build(digits).likelihood.levels == 17


OF_NETWORKS = (
    "Autoencoder",
    "ConditionalVAE",
    "HierarchicalVAE",
    "MixtureVAE",
    "SemiSupervisedVAE",
    "VAE",
    "VQVAE",
)


@pytest.mark.parametrize("name", OF_NETWORKS)
def test_images_have_convolutions_unless_networks_are_named(name):
    digits = load("digits")
    config, _ = configured(f"--model {name}").completed(digits)
    parts = {type(module).__name__ for module in config.build(digits).modules()}
    assert {"ConvEncoder", "ConvDecoder"} <= parts
    for words in ("--model.encoder MLP", "--model.decoder.hidden_dims [3]"):
        arguments, note = completed(f"--model {name} {words}", digits)
        assert {of_class(arguments[part]) for part in ("encoder", "decoder")} == {"MLP"}
        assert "Conv" not in note


def test_every_model_that_has_both_networks_is_tried():
    have_both = {
        name
        for name in pyro_vae.models.__all__
        if {"encoder", "decoder"}
        <= inspect.signature(getattr(pyro_vae.models, name)).parameters.keys()
    }
    assert have_both == {*OF_NETWORKS}


@pytest.mark.parametrize("shape", [(5,), (1, 7, 20), (6, 9)])
def test_other_data_have_no_convolutions(shape):
    split = Split(torch.rand(20, *shape), ValueRange(0.0, 1.0))
    arguments, _ = completed("--model VAE", DataSet("rows", split, None, split))
    assert of_class(arguments["encoder"]) == of_class(arguments["decoder"]) == "MLP"


def of_names(high=6, shape=(4,), is_whole=True):
    """Names 0 to ``high``, the highest in the test rows alone."""
    values = ValueRange(0.0, float(high), is_whole=is_whole)
    train = Split(torch.arange(20.0 * shape[0]).reshape(20, *shape) % high, values)
    return DataSet("names", train, None, Split(torch.full((3, *shape), float(high)), values))


def test_names_are_counted_in_all_splits_at_whatever_depth():
    names = of_names()
    arguments, note = completed("--model TokenVAE", names)
    assert arguments["num_tokens"] == 7
    assert note == "num_tokens: 7, as the data are whole numbers in [0, 6]"
    assert completed("--model TokenVAE --model.num_tokens 12", names)[0]["num_tokens"] == 12
    assert completed("--model TokenVAE --model.num_tokens 2", names)[0]["num_tokens"] == 2
    assert completed("--model TokenVAE", load("digits", binarize="fixed"))[0]["num_tokens"] == 2

    words = """--model VAE --model.likelihood Missing --model.likelihood.likelihood Tokens
        --model.encoder MaskedInput --model.encoder.network EmbeddedTokens"""
    arguments, note = completed(words, names)
    inner = arguments["likelihood"]["init_args"]["likelihood"]
    assert inner == {"class_path": "pyro_vae.likelihoods.Tokens", "init_args": {"num_tokens": 7}}
    assert arguments["encoder"]["init_args"]["network"]["init_args"]["num_tokens"] == 7
    assert "likelihood.likelihood.num_tokens: 7" in note
    assert "encoder.network.num_tokens: 7" in note
    arguments, note = completed(f"{words} --model.likelihood.likelihood.num_tokens 9", names)
    assert arguments["likelihood"]["init_args"]["likelihood"]["init_args"]["num_tokens"] == 9
    assert arguments["encoder"]["init_args"]["network"]["init_args"]["num_tokens"] == 7


def test_levels_of_named_parts_are_those_of_the_data():
    digits = load("digits")
    for name in ("DiscretizedLogistic", "Categorical", "DiscretizedLogisticMixture"):
        arguments, _ = completed(f"--model VAE --model.likelihood {name}", digits)
        assert arguments["likelihood"]["init_args"]["levels"] == 17
    words = "--model VAE --model.likelihood Categorical --model.likelihood.levels 33"
    assert completed(words, digits)[0]["likelihood"]["init_args"]["levels"] == 33
    words = "--model ItemResponse --model.item Graded"
    assert completed(words, of_names(4))[0]["item"]["init_args"]["levels"] == 5


def test_data_that_are_no_names_leave_the_default():
    split = Split(torch.rand(9, 4), ValueRange(-1.0, 2.5))
    data = DataSet("rows", split, None, split)
    assert completed("--model TokenVAE", data)[0]["num_tokens"] == 2
    halves = of_names(is_whole=False)
    assert completed("--model TokenVAE", halves) == (completed("--model TokenVAE", data)[0], None)
    words = "--model VAE --model.likelihood DiscretizedLogistic"
    assert completed(words, data)[0]["likelihood"]["init_args"]["levels"] == 256


def test_a_table_says_what_its_columns_are(here, call):
    columns = (Column("age"), Column("job", Kind.CATEGORY, ("clerk", "cook", "other")))
    split = Split(torch.ones(9, 2), ValueRange(0.0, 70.0), columns=columns)
    data = DataSet("people", split, None, split)
    words = "--model VAE --model.likelihood Missing --model.likelihood.likelihood Heterogeneous"
    arguments, note = completed(words, data)
    why = "as the data are columns of several kinds (`pyro-vae data` shows each)"
    assert note == f"likelihood.likelihood.columns: one for each column, {why}"
    found = arguments["likelihood"]["init_args"]["likelihood"]["init_args"]["columns"]
    assert [of_class(column) for column in found] == ["HeteroscedasticNormal", "Tokens"]
    assert found[1]["init_args"]["num_tokens"] == 3  # of its own column, not of all


def test_the_columns_of_a_table_are_those_of_the_argument_x():
    columns = (
        Column("y", Kind.COUNT),
        Column("age"),
        Column("job", Kind.CATEGORY, ("clerk", "cook")),
    )
    x = Argument("x", (1, 2), False, False)
    split = Split(torch.ones(9, 3), ValueRange(0.0, 70.0), columns=columns, arguments=(x,))
    arguments, _ = completed(
        "--model VAE --model.likelihood Heterogeneous", DataSet("t", split, None, split)
    )
    found = arguments["likelihood"]["init_args"]["columns"]
    assert [of_class(column) for column in found] == ["HeteroscedasticNormal", "Tokens"]


OWN = """
class Named:
    def __init__(self, data_shape, num_tokens: int, columns: list[str] | None = None): ...
    def model(self, x): ...
    def guide(self, x): ...
"""


def test_a_class_of_ones_own_is_told_the_number_of_names(here):
    (here / "own_names.py").write_text(OWN)
    arguments, _ = completed("--model own_names.Named", of_names())
    assert arguments == {"num_tokens": 7, "columns": None}
    with refused("num_tokens", remedy="--model.num_tokens") as caught:
        completed("--model own_names.Named", load("digits"))
    assert "digits, with 17 levels" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("VEA", "Did you mean 'VAE'?"),
        ("my_modl.MyVAE", "Did you mean 'my_model'?"),
        ("my_model.MyVEA", "Did you mean 'MyVAE'?"),
        ("my_model.py", "my_model.CLASS"),
        ("broken.Model", "broken failed: No module named 'not_to_be_found'"),
        ("unreadable.Model", "unreadable failed: line 1 of unreadable.py"),
        ("raising.Model", "raising failed: KeyError"),
    ],
)
def test_a_model_that_is_not_there(here, name, text):
    (here / "broken.py").write_text("import not_to_be_found")
    (here / "unreadable.py").write_text("class Model(:")
    (here / "raising.py").write_text("{}['key']")
    with refused("--model") as caught:
        find_class(name)
    assert text in str(caught.value)


def test_the_model_and_the_data_must_be_named():
    with refused("--model", remedy="--model VAE"):
        configured("--data digits")
    with refused("--data", remedy="`pyro-vae data`"):
        configured("--model VAE").load_data()


def test_a_constructor_that_raises(here):
    negative = configured("--model VAE --model.likelihood Normal --model.latent_dim -1")
    with refused("latent_dim", expected="at least 1"):
        negative.build(load("digits"))
    with refused("model", expected="`.model`"):
        configured("--model my_model.NoProgram").build(load("digits"))


def test_the_data_say_how_many_levels_there_are():
    dequantized = configured("--model DequantizedFlow --data digits")
    assert dequantized.build(load("digits")).levels == 17
    assert dequantized.build(load("digits", binarize="threshold")).levels == 2


def test_a_density_of_levels_is_warned_of():
    warning = unbounded_density_note(FlowDensity, load("digits"))
    assert "17 levels" in warning
    assert "--model DequantizedFlow" in warning
    standardized = unbounded_density_note(FlowDensity, load("digits", standardize=True))
    assert standardized == f"{warning} (without --standardize)"
    assert unbounded_density_note(VAE, load("digits")) is None


def test_a_condition_reads_labels_in_place_of_the_number_of_classes():
    words = """--model ConditionalVAE --data digits --model.condition OneHot
        --model.condition.in_shape [] --model.condition.out_shape [12] --model.likelihood Bernoulli"""
    assert configured(words).build(load("digits")).condition.out_shape == (12,)


def test_levels_that_a_model_must_know_are_asked_for():
    class OnLevels:
        def __init__(self, data_shape, levels): ...

    assert size_arguments(OnLevels, load("digits")) == {"data_shape": (1, 8, 8), "levels": 17}
    with refused("digits", expected="levels", remedy="--standardize") as caught:
        size_arguments(OnLevels, load("digits", standardize=True))
    assert "OnLevels" in str(caught.value)
