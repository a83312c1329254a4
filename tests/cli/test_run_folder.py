"""Folders of runs: they are never overwritten, and their files run no foreign code."""

import json
import shutil

import jsonargparse
import pytest
import yaml
from refused import refused

import pyro_vae
from pyro_vae.cli.run.config import FitConfig
from pyro_vae.cli.run.folder import check_free, claimed, open_run
from pyro_vae.cli.run.trust import options_to_repeat
from pyro_vae.errors import InputError

EVIL = """
open("IMPORTED", "w").close()
from pyro_vae.priors import StandardNormal


class Thing(StandardNormal):
    pass


def function(*args):
    open("IMPORTED", "w").close()
"""


def edited(config, path, value):
    changed = json.loads(json.dumps(config))
    *parents, last = path.split("/")
    place = changed
    for parent in parents:
        place = place[parent]
    place[last] = value
    return changed


PRIOR = "model/init_args/prior"
ATTACKS = {
    "the model": ("model/class_path", "evil.Thing"),
    "the model by name alone": ("model", "evil.Thing"),
    "a part": (PRIOR, {"class_path": "evil.Thing"}),
    "a part by name alone": (PRIOR, "evil.Thing"),
    "a part in a string": (PRIOR, '{"class_path": "evil.Thing"}'),
    "a part in a string with the name escaped": (PRIOR, '{"class_path": "evil\\u002eThing"}'),
    "a part behind blanks": (PRIOR, " evil.Thing "),
    "a part in a file": (PRIOR, "evil.yaml"),
    "a part in a file elsewhere": (PRIOR, "./evil.yaml"),
    "a part of a part": ("model/init_args/encoder/init_args/activation", "evil.function"),
    "further arguments": (
        "model/init_args/encoder/dict_kwargs",
        {"activation": {"class_path": "evil.Thing"}},
    ),
    "the optimizer": ("optimizer", "evil.function"),
    "the objective": ("elbo", {"class_path": "evil.Thing"}),
    "the schedule in a string": ("lr_schedule", '{"class_path": "evil\\x2eThing"}'),
    "a function of the system": ("optimizer", "os.system"),
    "what torch imports": ("optimizer", "torch.nn.modules.module.functools.partial"),
    "what we import": ("optimizer", "pyro_vae.cli.os.system"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_file_runs_no_code_that_was_not_named(here, vae, attack, monkeypatch):
    monkeypatch.syspath_prepend(here)  # as `python -m` has it
    (here / "evil.py").write_text(EVIL)
    (here / "evil.yaml").write_text("class_path: evil.Thing\n")
    config = yaml.safe_load((vae / "config.yaml").read_text())
    (vae / "config.yaml").write_text(yaml.safe_dump(edited(config, *ATTACKS[attack])))
    for in_any_way in (open_run, pyro_vae.open_run):
        with pytest.raises(InputError):
            in_any_way(vae)
    assert not (here / "IMPORTED").exists()


def test_tags_in_a_file_are_not_obeyed(here, vae):
    (vae / "config.yaml").write_text("model: !!python/object/apply:os.mkdir ['IMPORTED']\n")
    with refused(str(vae / "config.yaml"), expected="YAML"):
        open_run(vae)
    assert not (here / "IMPORTED").exists()


def test_another_file_that_a_run_names_is_not_read(here, vae):
    (here / "other.yaml").write_text("batch_size: 7\n")
    with (vae / "config.yaml").open("a") as file:
        file.write("config: other.yaml\n")
    assert open_run(vae).config.options.batch_size is None


def test_a_class_of_ones_own_is_named_again(call):
    own = "--model my_model.MyVAE"
    assert call("fit", own, "--data digits --epochs 1 --out runs/own").code == 0
    outcome = call("evidence", "runs/own")
    assert outcome.code == 2
    assert outcome.err.startswith("error: runs/own/config.yaml names my_model.MyVAE,")
    assert outcome.err.endswith(" --model my_model.MyVAE\n")
    assert call("evidence", "runs/own", own, "--num_particles 5").code == 0
    assert call("fit --resume runs/own --epochs 2", own).code == 0


def test_a_part_of_ones_own_is_named_again(here, call):
    (here / "my_parts.py").write_text(
        "from pyro_vae.priors import StandardNormal\nclass Mine(StandardNormal): pass\n"
    )
    part = "--model.prior my_parts.Mine"
    asked = call("fit --model VAE", part, "--data digits --epochs 1 --out runs/own")
    assert asked.code == 0
    assert "evidence runs/own --model.prior my_parts.Mine" in asked.err
    jsonargparse.set_parsing_settings(import_path_denylist=["my_parts.Mine"])  # as in a new process
    assert " --model.prior my_parts.Mine" in call("sample", "runs/own").err
    assert call("sample runs/own", part).code == 0


def test_only_foreign_code_is_repeated():
    ours = FitConfig.read(["--model", "VAE", "--model.likelihood", "Normal"]).to_dict()
    assert options_to_repeat(ours) == ""
    theirs = edited(ours, "model/class_path", "torch_house.vae.VAE")
    theirs = edited(theirs, PRIOR, {"class_path": "elsewhere.Prior"})
    assert options_to_repeat(theirs) == " --model torch_house.vae.VAE --model.prior elsewhere.Prior"


def test_options_of_a_run_are_kept(vae):
    with refused("--batch_size", remedy="--config") as caught:
        open_run(vae, ["--batch_size", "64"])
    assert "--batch_size unset, not 64: a run keeps its options, all but compile, " in str(
        caught.value
    )
    with refused("--model.latent_dim") as caught:
        open_run(vae, ["--model.latent_dim", "3"])
    assert "2, not 3" in str(caught.value)
    with refused("--model"):
        open_run(vae, ["--model", "FactorAnalysis"])
    run = open_run(vae, ["--optimizer.lr", "0.1", "--patience", "7", "--epochs", "9"])
    assert set(run.changes) == {
        "from here on --optimizer.lr is 0.1; it was chosen by the fit",
        "from here on --patience is 7; it was without a limit",
    }
    assert open_run(vae, ["--epochs", "9", "--device", "cpu"]).config.options.epochs == 9


def test_no_run(here, vae):
    with refused("runs/vea") as caught:
        open_run("runs/vea")
    assert "Did you mean 'vae'?" in str(caught.value)
    with refused("nowhere"):
        open_run("nowhere")
    (vae / "config.yaml").write_text("just words")
    with refused(str(vae / "config.yaml"), expected="a mapping"):
        open_run(vae)


def test_a_damaged_or_missing_checkpoint(call, vae):
    path = vae / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "is damaged" in call("sample", str(vae)).err
    path.unlink()
    assert "checkpoint.safetensors" in call("sample", str(vae)).err


def test_a_checkpoint_of_another_model(call, vae):
    other = call("fit --model FactorAnalysis --data digits --epochs 1 --out runs/fa")
    assert other.code == 0
    shutil.copy("runs/fa/checkpoint.safetensors", vae)
    made = "--model pyro_vae.models.FactorAnalysis, not pyro_vae.models.VAE"
    call("evidence", str(vae)).refuses("runs/vae", made)


def test_data_that_changed(here, call):
    fit = "fit --model FactorAnalysis --data table.csv --epochs 1 --out runs/table"
    assert call(fit).code == 0
    table = (here / "table.csv").read_text()
    (here / "table.csv").write_text(table.replace("25,", "26,"))
    for verb in ("evidence runs/table", "fit --resume runs/table --epochs 2"):
        call(verb).refuses("table.csv", "runs/table")
    (here / "table.csv").write_text(table)
    assert call("evidence", "runs/table").code == 0


class TestFromAnyFolder:
    FIT = "fit --model FactorAnalysis --data table.csv --epochs 1 -o runs/table"

    @pytest.fixture
    def elsewhere(self, here, made, monkeypatch):
        assert made(self.FIT).code == 0
        (here / "elsewhere").mkdir()
        monkeypatch.chdir(here / "elsewhere")
        return here

    def test_a_run_is_opened(self, call, elsewhere):
        run = elsewhere / "runs/table"
        for words in (
            f"evidence {run} --num_particles 5 -o evidence.csv",
            f"sample {run} -o samples.csv",
            f"reconstruct {run} -o reconstructions.csv",
            f"graph {run}",
            f"fit --resume {run} --epochs 2",
            f"fit --config {run}/config.yaml -o again",
        ):
            outcome = call(words)
            assert outcome.code == 0, (words, outcome.err)
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["data"] == "table.csv"
        assert config["working_directory"] == str(elsewhere)

    def test_another_file_of_that_name_is_not_taken(self, call, elsewhere):
        (elsewhere / "elsewhere/table.csv").write_text("age,height\n1,2\n3,4\n5,6\n7,8\n")
        assert call(f"evidence {elsewhere}/runs/table --num_particles 5").code == 0
        assert call(self.FIT.replace("runs", "mine")).code == 0  # but by its own name it is

    def test_a_folder_that_has_moved(self, call, elsewhere, monkeypatch):
        (elsewhere / "moved").mkdir()
        for name in ("runs", "table.csv"):
            shutil.move(elsewhere / name, elsewhere / "moved" / name)
        run = elsewhere / "moved/runs/table"
        assert call(f"evidence {run} --num_particles 5").code == 0


def test_another_learning_rate(call, vae):
    outcome = call("fit --resume runs/vae --epochs 3 --optimizer.lr 1e-4")
    assert outcome.code == 0, outcome.err
    assert "from here on --optimizer.lr is 0.0001; it was chosen by the fit" in outcome.err
    metrics = [json.loads(line) for line in (vae / "metrics.jsonl").read_text().splitlines()]
    assert [m["learning_rate"] for m in metrics] == [1e-3, 1e-3, 1e-4]
    assert yaml.safe_load((vae / "config.yaml").read_text())["optimizer"]["init_args"]["lr"] == 1e-4
    again = call("fit --resume runs/vae")
    assert "--optimizer.lr" not in again.err
    assert "--epochs 6 would continue it" in again.err
    call("fit --resume runs/vae --optimizer SGD").refuses(
        "--optimizer", "Adam, not torch.optim.SGD"
    )


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("--optimizer SGD --optimizer.lr 0.1", "--optimizer"),
        ("--optimizer.betas [0.5,0.9]", "--optimizer.betas"),
    ],
)
def test_a_run_keeps_the_optimizer_that_the_fit_chose(call, vae, words, name):
    before = (vae / "config.yaml").read_text()
    call(f"fit --resume runs/vae --epochs 3 {words}").refuses(name)
    assert (vae / "config.yaml").read_text() == before
    edited = yaml.safe_load(before) | {"optimizer": {"class_path": "torch.optim.SGD"}}
    (vae / "config.yaml").write_text(yaml.safe_dump(edited))
    call("fit --resume runs/vae --epochs 3").refuses("--optimizer", "Adam, not torch.optim.SGD")
    (vae / "config.yaml").write_text(before)
    assert call("fit --resume runs/vae --epochs 3 --optimizer Adam").code == 0


def test_a_run_that_patience_ended_says_what_goes_on_with_it(call):
    fit = "fit --model FactorAnalysis --data table.csv --optimizer SGD --optimizer.lr 1e-30"
    outcome = call(fit, "--patience 2 --epochs 50 -o runs/still")
    assert outcome.out.startswith("runs/still: 3 steps")
    again = call("fit --resume runs/still")
    assert "--patience 4 or another --optimizer.lr would continue it" in again.err
    assert call("fit --resume runs/still --patience 4").out.startswith("runs/still: 5 steps")


@pytest.mark.parametrize(("rate", "is_last"), [(1e-3, True), (1e-30, False)])
def test_it_says_where_the_last_epoch_is_the_best(call, rate, is_last):
    fit = f"fit --model FactorAnalysis --data table.csv --optimizer SGD --optimizer.lr {rate}"
    outcome = call(fit, "--epochs 4 -o runs/t")
    said = "the last step is the best: more steps may help"
    assert (said in outcome.err) == is_last
    assert ("fit --resume runs/t --epochs 8" in outcome.err) == is_last


def test_a_run_without_a_step_leaves_nothing(here, call):
    own = "--model my_model.FailsLater"
    assert call("fit", own, "--data digits --out runs/new").code == 2
    assert not (here / "runs").exists()
    for verb in ("evidence", "sample", "reconstruct"):
        call(f"{verb} runs/new", own).refuses("runs/new")


class TestClaims:
    def config(self):
        return FitConfig.read(["--model", "FactorAnalysis", "--data", "digits"])

    def test_a_folder_with_a_run_is_refused(self, vae):
        with refused("--out", remedy="--resume runs/vae"):
            check_free(vae)

    def test_files_of_others_are_refused_too(self, here):
        (here / "config.yaml").write_text("mine: 1\n")
        with refused("--out", remedy="--resume"), claimed(here, self.config()):
            pass
        assert (here / "config.yaml").read_text() == "mine: 1\n"

    def test_a_file_is_no_folder(self, here):
        with refused("--out", expected="a folder"):
            check_free(here / "table.csv")

    def test_where_no_run_comes_of_it_nothing_stays(self, here):
        folder = here / "runs/new"
        with pytest.raises(KeyError), claimed(folder, self.config()):
            _ = {}[(folder / "config.yaml").exists()]
        assert not folder.exists()

    def test_of_a_run_that_fails_before_its_first_step_nothing_stays(self, here, call):
        failing = "fit --model my_model.FailsLater --data digits --out runs/new"
        assert call(failing).code == 2
        assert not (here / "runs").exists()
        fit = "fit --model my_model.MyVAE --data digits --epochs 1 --out runs/new"
        assert call(fit).code == 0
