"""PixelCNN, by its name."""

import pytest

FIT = "fit --model VAE --data digits --epochs 1 --out runs/a --model.likelihood PixelCNN"
SMALL = "--model.likelihood.width 4 --model.likelihood.num_layers 1"
LEVELS = "--model.likelihood.likelihood Categorical --model.likelihood.likelihood.levels 17"


@pytest.mark.parametrize("options", ["--binarize threshold", LEVELS])
def test_every_verb_takes_a_run_of_it(call, options):
    assert call(FIT, SMALL, options).code == 0
    assert call("evidence runs/a --num_particles 10").code == 0
    for verb, picture in (("sample", "samples.png"), ("reconstruct", "reconstructions.png")):
        outcome = call(verb, "runs/a")
        assert (outcome.code, picture in outcome.out) == (0, True)
    assert call("graph runs/a").code == 0
    assert "PixelCNN" in call("models").out


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("", ("--binarize stochastic",)),
        ("--data table.csv", ("PixelCNN", "(channels, height, width)", "(2,)")),
        ("--model.likelihood.kernel_size 4", ("kernel_size", "odd", "4")),
    ],
)
def test_what_is_refused(call, options, names):
    outcome = call(FIT, options)
    outcome.refuses(*names)
