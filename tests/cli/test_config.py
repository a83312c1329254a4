"""What is asked for, as YAML and back, and the model that comes of it."""

import inspect

import pytest
import torch
import yaml

import pyro_vae.models
from pyro_vae.cli.options.likelihood import likelihood_for
from pyro_vae.cli.options.model import filled, find_class, grows_without_bound
from pyro_vae.cli.run.config import Experiment
from pyro_vae.data import Argument, Column, DataSet, Kind, Split, ValueRange, load
from pyro_vae.errors import InputError
from pyro_vae.likelihoods import FixedScaleNormal
from pyro_vae.models import VAE, FactorAnalysis, FlowDensity
from pyro_vae.networks import ConvEncoder

WORDS = """
    --model VAE --data digits --model.latent_dim 3 --model.likelihood FixedScaleNormal
    --model.likelihood.scale 0.5 --model.encoder ConvEncoder --model.encoder.channels [4,8]
    --optimizer SGD --optimizer.lr 1e-5 --schedule StepLR --schedule.step_size 3 --epochs 7
    --elbo TraceMeanField_ELBO --clip_norm 10 --patience 4 --seed 5
"""


def asked(words, config=None):
    return Experiment.read(words.split(), config)


def test_yaml_holds_everything_and_reads_back_the_same():
    text = asked(WORDS).to_yaml()
    assert asked("", yaml.safe_load(text)).to_yaml() == text
    options = yaml.safe_load(text)
    assert options["model"]["class_path"] == "pyro_vae.models.VAE"
    assert options["model"]["init_args"]["likelihood"]["init_args"] == {"scale": 0.5}
    assert options["optimizer"]["init_args"]["lr"] == 1e-5
    assert {"data", "binarize", "data_seed", "batch_size", "seed", "beta"} <= options.keys()


def test_the_command_line_overrides_a_configuration():
    config = asked(WORDS).to_dict()
    changed = asked("--epochs 9 --model.latent_dim 5", config)
    assert (changed.options.epochs, changed.options.model.latent_dim) == (9, 5)
    assert changed.options.seed == 5
    assert changed.options.model.encoder.init_args.channels == [4, 8]


def test_another_model_does_not_inherit_the_options_of_the_first():
    config = asked(WORDS).to_dict()
    changed = asked("--model FactorAnalysis", config)
    assert changed.model is FactorAnalysis
    assert changed.to_dict()["model"]["init_args"] == {"latent_dim": 2, "isotropic": False}


def test_parts_are_made_with_their_options_and_the_shape_of_the_data():
    experiment, data = asked(WORDS), load("digits")
    vae = experiment.build(data)
    assert isinstance(vae, VAE)
    assert isinstance(vae.likelihood, FixedScaleNormal)
    assert vae.likelihood.scale == 0.5
    assert isinstance(vae.recognition.encoder.network, ConvEncoder)
    assert vae.likelihood(torch.zeros(2, 3)).event_shape == (1, 8, 8)
    kwargs = experiment.fit_options()
    assert kwargs["epochs"] == 7
    assert isinstance(kwargs["optimizer"](vae.parameters()), torch.optim.SGD)


def test_the_seed_decides_where_the_parameters_start():
    data = load("digits")

    def start(seed):
        model = asked(f"--model VAE --model.likelihood Normal --seed {seed}").build(data)
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


def suited(words, data):
    """The model's options with what the data say, and that in words."""
    experiment, said = asked(words).suited_to(data)
    return experiment.to_dict()["model"]["init_args"], said


def of_class(part):
    return part["class_path"].rpartition(".")[2]


def test_only_an_open_likelihood_is_chosen():
    digits = load("digits")
    arguments, said = suited("--model VAE", digits)
    assert arguments["likelihood"] == likelihood_for(digits)
    assert said.startswith(
        "likelihood: DiscretizedLogistic, encoder: ConvEncoder, decoder: ConvDec"
    )
    assert said.endswith(", as the data are images of 17 levels in [0, 1]")
    arguments, _ = suited("--model VAE --model.likelihood Normal", digits)
    assert of_class(arguments["likelihood"]) == "Normal"
    assert suited("--model FactorAnalysis", digits) == ({"latent_dim": 2, "isotropic": False}, None)
    experiment, _ = asked("--model VAE").suited_to(digits)
    again, said = experiment.suited_to(digits)
    assert (again.to_dict(), said) == (experiment.to_dict(), None)
    assert asked("", experiment.to_dict()).suited_to(digits)[1] is None
    assert asked("", experiment.to_dict()).build(digits).likelihood.levels == 17


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
    experiment, _ = asked(f"--model {name}").suited_to(digits)
    parts = {type(module).__name__ for module in experiment.build(digits).modules()}
    assert {"ConvEncoder", "ConvDecoder"} <= parts
    for words in ("--model.encoder MLP", "--model.decoder.hidden_dims [3]"):
        arguments, said = suited(f"--model {name} {words}", digits)
        assert {of_class(arguments[part]) for part in ("encoder", "decoder")} == {"MLP"}
        assert "Conv" not in said


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
    arguments, _ = suited("--model VAE", DataSet("rows", split, None, split))
    assert of_class(arguments["encoder"]) == of_class(arguments["decoder"]) == "MLP"


def of_names(high=6, shape=(4,), is_whole=True):
    """Names 0 to ``high``, the highest in the test rows alone."""
    values = ValueRange(0.0, float(high), is_whole=is_whole)
    train = Split(torch.arange(20.0 * shape[0]).reshape(20, *shape) % high, values)
    return DataSet("names", train, None, Split(torch.full((3, *shape), float(high)), values))


def test_names_are_counted_in_all_splits_at_whatever_depth():
    names = of_names()
    arguments, said = suited("--model TokenVAE", names)
    assert arguments["num_tokens"] == 7
    assert said == "num_tokens: 7, as the data are whole numbers in [0, 6]"
    assert suited("--model TokenVAE --model.num_tokens 12", names)[0]["num_tokens"] == 12
    assert suited("--model TokenVAE --model.num_tokens 2", names)[0]["num_tokens"] == 2
    assert suited("--model TokenVAE", load("digits", binarize="fixed"))[0]["num_tokens"] == 2

    words = """--model VAE --model.likelihood Missing --model.likelihood.likelihood Tokens
        --model.encoder MaskedInput --model.encoder.network EmbeddedTokens"""
    arguments, said = suited(words, names)
    inner = arguments["likelihood"]["init_args"]["likelihood"]
    assert inner == {"class_path": "pyro_vae.likelihoods.Tokens", "init_args": {"num_tokens": 7}}
    assert arguments["encoder"]["init_args"]["network"]["init_args"]["num_tokens"] == 7
    assert "likelihood.likelihood.num_tokens: 7" in said
    assert "encoder.network.num_tokens: 7" in said
    arguments, said = suited(f"{words} --model.likelihood.likelihood.num_tokens 9", names)
    assert arguments["likelihood"]["init_args"]["likelihood"]["init_args"]["num_tokens"] == 9
    assert arguments["encoder"]["init_args"]["network"]["init_args"]["num_tokens"] == 7


def test_levels_of_named_parts_are_those_of_the_data():
    digits = load("digits")
    for name in ("DiscretizedLogistic", "Categorical", "DiscretizedLogisticMixture"):
        arguments, _ = suited(f"--model VAE --model.likelihood {name}", digits)
        assert arguments["likelihood"]["init_args"]["levels"] == 17
    words = "--model VAE --model.likelihood Categorical --model.likelihood.levels 33"
    assert suited(words, digits)[0]["likelihood"]["init_args"]["levels"] == 33
    words = "--model ItemResponse --model.item Graded"
    assert suited(words, of_names(4))[0]["item"]["init_args"]["levels"] == 5


def test_data_that_are_no_names_leave_the_default():
    split = Split(torch.rand(9, 4), ValueRange(-1.0, 2.5))
    data = DataSet("rows", split, None, split)
    assert suited("--model TokenVAE", data)[0]["num_tokens"] == 2
    halves = of_names(is_whole=False)
    assert suited("--model TokenVAE", halves) == (suited("--model TokenVAE", data)[0], None)
    words = "--model VAE --model.likelihood DiscretizedLogistic"
    assert suited(words, data)[0]["likelihood"]["init_args"]["levels"] == 256


def test_a_table_says_what_its_columns_are(here, call):
    columns = (Column("age"), Column("job", Kind.CATEGORY, ("clerk", "cook", "other")))
    split = Split(torch.ones(9, 2), ValueRange(0.0, 70.0), columns=columns)
    data = DataSet("people", split, None, split)
    words = "--model VAE --model.likelihood Missing --model.likelihood.likelihood Heterogeneous"
    arguments, said = suited(words, data)
    why = "as the data are columns of several kinds (`pyro-vae data` shows each)"
    assert said == f"likelihood.likelihood.columns: one for each column, {why}"
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
    arguments, _ = suited(
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
    arguments, _ = suited("--model own_names.Named", of_names())
    assert arguments == {"num_tokens": 7, "columns": None}
    with pytest.raises(
        InputError, match=r"Named needs num_tokens, of which digits, with 17 levels"
    ):
        suited("--model own_names.Named", load("digits"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("VEA", "there is no model 'VEA'; did you mean 'VAE'?"),
        ("my_modl.MyVAE", "there is no module 'my_modl' in .* did you mean 'my_model'?"),
        ("my_model.MyVEA", "my_model has no class 'MyVEA'; did you mean 'MyVAE'?"),
        ("my_model.py", "takes a class, not a file: say my_model.CLASS"),
        ("broken.Model", "importing broken failed: No module named 'not_to_be_found'"),
        ("unreadable.Model", "importing unreadable failed: unreadable.py, line 1"),
        ("raising.Model", "importing raising failed: KeyError"),
    ],
)
def test_a_model_that_is_not_there(here, name, message):
    (here / "broken.py").write_text("import not_to_be_found")
    (here / "unreadable.py").write_text("class Model(:")
    (here / "raising.py").write_text("{}['key']")
    with pytest.raises(InputError, match=message):
        find_class(name)


def test_which_model_and_which_data_are_asked_for():
    with pytest.raises(InputError, match="which model"):
        asked("--data digits")
    with pytest.raises(InputError, match="which data"):
        asked("--model VAE").load_data()


def test_a_constructor_that_raises(here):
    negative = asked("--model VAE --model.likelihood Normal --model.latent_dim -1")
    with pytest.raises(InputError):
        negative.build(load("digits"))
    with pytest.raises(InputError, match="NoProgram is no program"):
        asked("--model my_model.NoProgram").build(load("digits"))


def test_the_data_say_how_many_levels_there_are():
    dequantized = asked("--model DequantizedFlow --data digits")
    assert dequantized.build(load("digits")).levels == 17
    assert dequantized.build(load("digits", binarize="threshold")).levels == 2


def test_a_density_of_levels_is_warned_of():
    warning = grows_without_bound(FlowDensity, load("digits"))
    assert warning.startswith("x takes 17 levels, so a density of it can grow without bound")
    assert "DequantizedFlow, with levels=17," in warning
    standardized = grows_without_bound(FlowDensity, load("digits", standardize=True))
    assert standardized == f"{warning} (without --standardize)"
    assert grows_without_bound(VAE, load("digits")) is None


def test_a_condition_reads_labels_in_place_of_the_number_of_classes():
    words = """--model ConditionalVAE --data digits --model.condition OneHot
        --model.condition.in_shape [] --model.condition.out_shape [12] --model.likelihood Bernoulli"""
    assert asked(words).build(load("digits")).condition.out_shape == (12,)


def test_levels_that_a_model_must_know_are_asked_for():
    class OnLevels:
        def __init__(self, data_shape, levels): ...

    assert filled(OnLevels, load("digits")) == {"data_shape": (1, 8, 8), "levels": 17}
    with pytest.raises(InputError, match=r"OnLevels needs values on levels, .*--standardize out"):
        filled(OnLevels, load("digits", standardize=True))
