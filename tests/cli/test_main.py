"""The frame that all verbs share: exit codes, help, streams."""

import re
import subprocess
import sys
import time

import pytest

import pyro_vae.models
from pyro_vae.cli import VERBS
from pyro_vae.cli.output.console import command, table
from pyro_vae.cli.output.errors import describe
from pyro_vae.errors import InputError


def test_help_lists_every_verb(call):
    outcome = call("--help")
    assert outcome.code == 0
    assert all(f"  {verb} " in outcome.out for verb in VERBS)
    assert call().out == outcome.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(call, verb):
    outcome = call(verb, "--help")
    assert outcome.code == 0
    assert "examples:" in outcome.out
    assert f"pyro-vae {verb}" in outcome.out


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_a_terminal_and_explains_an_option_in_two_lines(call, verb, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = call(verb, "--help").out.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    options = re.split(r"\n  +(?=-)", "\n".join(lines))[1:]
    own = [re.split(r"\s\((?:default|known):|\n\n", option)[0] for option in options]
    texts = [" ".join(re.split(r"\n|   *", text, maxsplit=1)[-1].split()) for text in own]
    assert [text for text in texts if len(text) > 2 * 54] == []  # the width of a column of help


def test_help_of_a_model_shows_its_own_options_and_their_defaults(call):
    text = call("fit", "--model", "VAE", "--help").out
    assert "size Z of the latent vector" in text
    assert "--model.likelihood" in text
    assert "HeteroscedasticNormal" in text
    mine = call("fit", "--model", "my_model.MyVAE", "--help").out
    assert "of the hidden layer" in mine
    assert "--model.prior" not in mine
    assert "By default it suits the data (known:" in " ".join(text.split())
    assert [mark for mark in (":func:", ":mod:", "``", "null", "Optional[") if mark in text] == []


def test_unknown_verb(call):
    outcome = call("evidnce")
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert outcome.err.endswith("Did you mean 'evidence'?\n")


def test_version(call):
    from pyro_vae import __version__

    assert call("--version").out == f"pyro-vae {__version__}\n"


def test_a_wrong_input_shows_its_traceback_with_debug_alone(call):
    words = ("fit", "--model", "VEA", "--data", "digits")
    assert "Traceback" not in call(*words).err
    outcome = call(*words, "--debug")
    assert outcome.code == 2
    assert "Traceback" in outcome.err
    assert outcome.err.endswith("Did you mean 'VAE'?\n")


def test_data_lists_the_sets_on_standard_output(call):
    outcome = call("data")
    assert outcome.code == 0
    assert outcome.out.splitlines()[1].startswith("digits ")
    assert "built in" in outcome.out


def test_models_lists_the_shelf_and_the_parts(call):
    outcome = call("models")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert set(pyro_vae.models.__all__) <= set(lines)
    vae = lines[lines.index("VAE") + 1 :][:3]
    assert "z ~ p(z)" in vae[0]
    assert "prior StandardNormal, likelihood Bernoulli" in vae[1]
    assert "1312.6114" in vae[2]
    assert all("https://" in "".join(lines[lines.index(n) :][:4]) for n in pyro_vae.models.__all__)
    parts = {name: rest for name, _, rest in (line.strip().partition(": ") for line in lines)}
    assert "VampPrior" in parts["prior"]
    assert "Prior" not in parts["prior"].split(", ")
    assert parts["--beta"] == "Cyclical, Linear"


@pytest.mark.parametrize("model", pyro_vae.models.__all__)
def test_help_offers_no_class_that_is_not_listed(call, model):
    listed = call("models").out.partition("Parts of a model")[2]
    names = {name for line in listed.splitlines() for name in line.partition(": ")[2].split(", ")}
    text = call("fit", "--model", model, "--help").out.partition("the model:")[2]
    offered = re.findall(r"known: ([^)]*)\)", " ".join(text.split()))
    assert {name for choices in offered for name in choices.split(", ")} <= names
    assert not {"Sentences", "PlaceholderDecoder", "PersonParameters", "Flow"} & names
    assert not [name for name in names if name.endswith("Factory")]


def test_the_frame_starts_without_torch():
    code = "import sys, pyro_vae.cli; pyro_vae.cli.main(['--help']); print('torch' in sys.modules)"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
    assert time.monotonic() - started < 5  # tenths of a second on a quiet machine


def test_a_reader_that_goes_away_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m pyro_vae data | true", shell=True, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


class TestDescribe:
    def test_wrong_input(self):
        assert describe(InputError("say 3, not 4")) == (2, "say 3, not 4")

    def test_a_full_disk(self):
        error = OSError(28, "No space left on device", "runs/vae/metrics.jsonl")
        assert describe(error) == (2, "runs/vae/metrics.jsonl: No space left on device")

    def test_a_full_disk_as_safetensors_says_it(self):
        code, message = describe(RuntimeError("I/O error: No space left (os error 28)"))
        assert (code, message) == (2, "I/O error: No space left (os error 28)")

    def test_stopped_by_the_keyboard(self):
        stop = KeyboardInterrupt()
        stop.add_note("go on with ...")
        assert describe(stop) == (130, "interrupted\ngo on with ...")

    def test_code_of_the_user(self):
        try:
            exec(compile("1 / 0", __file__, "exec"), {"__name__": "their_module"})
        except ZeroDivisionError as error:
            code, message = describe(error)
        assert code == 2
        assert message == "line 1 of test_main.py: ZeroDivisionError: division by zero"

    def test_a_bug_of_ours(self):
        with pytest.raises(ValueError, match="zip") as caught:
            table([("a", "b"), ("c",)])
        frames = caught.value.__traceback__.tb_next  # without this test's own
        code, message = describe(caught.value.with_traceback(frames))
        assert code == 1
        assert "looks like a bug in pyro_vae" in message


class TestCommand:
    def test_by_its_name_where_the_shell_finds_it(self, tmp_path, monkeypatch):
        program = tmp_path / "pyro-vae"
        program.touch(0o755)
        monkeypatch.setattr(sys, "argv", [str(program)])
        monkeypatch.setenv("PATH", "/nowhere")
        assert command() == str(program)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert command() == "pyro-vae"

    def test_as_a_module(self, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["somewhere/pyro_vae/__main__.py"])
        monkeypatch.setenv("PATH", "/nowhere")
        assert command() == f"{sys.executable} -m pyro_vae"
