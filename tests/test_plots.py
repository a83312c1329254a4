"""Plots show the values that they are given."""

import io

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from refused import refused

from pyro_vae import plots
from pyro_vae.data import Column, Kind
from pyro_vae.plots.images import MISSING

METRICS = [
    {"epoch": e, "train_elbo": -50.0 + e, "validation_elbo": v, "beta": 1.0}
    for e, v in ((1, -60.0), (2, -48.5), (3, -49.0))
]


def labels_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_best_epoch_is_marked():
    (axes,) = plots.learning_curve(METRICS, "image").axes
    assert axes.get_ylabel() == "ELBO (nats per image)"
    assert labels_of(axes)[-1] == "best: \N{MINUS SIGN}48.50 at epoch 2"
    point = axes.get_lines()[-1].get_xydata()
    np.testing.assert_array_equal(point, [[2, -48.5]])


def test_a_weighted_objective_is_not_called_elbo_alone():
    weighted = [{**m, "beta": 0.5} for m in METRICS]
    (axes,) = plots.learning_curve(weighted).axes
    assert labels_of(axes)[0] == "training, KL weighted"


def test_without_validation_there_is_one_curve():
    (axes,) = plots.learning_curve([{"epoch": 1, "train_elbo": -3.0}]).axes
    assert labels_of(axes) == ["training"]


def test_no_epochs_no_curve():
    with refused("metrics", expected="epoch"):
        plots.learning_curve([])


def test_originals_stand_above_their_reconstructions():
    originals, means = torch.ones(3, 1, 4, 4), torch.full((3, 1, 4, 4), 0.25)
    originals[:, :, 0, 0] = 0  # the range is that of the originals
    (axes,) = plots.reconstructions(originals, means).axes
    mosaic = axes.images[0].get_array()
    assert mosaic.shape == (9, 14, 3)
    np.testing.assert_allclose(mosaic[1, 1], 1.0)
    np.testing.assert_allclose(mosaic[6, 1], 0.25)
    assert {text.get_text() for text in axes.texts} == {"data", "reconstruction"}


def test_rows_of_ten():
    x = torch.rand(23, 3, 5, 4)
    assert len(plots.reconstructions(x, x).axes) == 3


def test_other_channel_counts_are_stacked():
    x = torch.zeros(1, 2, 4, 4)
    x[:, 1] = 1
    (axes,) = plots.samples(x).axes
    mosaic = axes.images[0].get_array()
    assert mosaic.shape == (8, 4, 3)
    assert (mosaic[:4] == 0).all()
    assert (mosaic[4:] == 1).all()


def test_colours_are_kept():
    x = torch.zeros(1, 3, 4, 4)
    x[:, 0] = 1
    (axes,) = plots.samples(x).axes
    np.testing.assert_array_equal(axes.images[0].get_array()[0, 0], [1, 0, 0])


def test_a_table_says_how_well_each_column_is_reconstructed():
    x = torch.randn(100, 8)
    panels = plots.reconstructions(x, x, [f"c{i}" for i in range(8)]).axes
    assert [panel.get_title() for panel in panels] == [f"c{i}" for i in range(6)]
    assert panels[0].texts[0].get_text() == "$R^2$ = 1.00"
    mean = x.mean(0).expand_as(x)
    panels = plots.reconstructions(x, mean).axes
    assert panels[0].texts[0].get_text() in ("$R^2$ = 0.00", "$R^2$ = -0.00")


def test_shapes_must_pair():
    with refused("means", expected="equal shapes"):
        plots.reconstructions(torch.zeros(3, 2), torch.zeros(3, 4))


def test_a_constant_column_is_drawn_too():
    x = torch.ones(20, 1)
    plots.reconstructions(x, x)
    plots.samples(x, x)


def test_samples_of_a_table_stand_beside_the_data():
    panels = plots.samples(torch.randn(50, 2), torch.randn(80, 2)).axes
    assert [panel.get_title() for panel in panels] == ["column 0", "column 1"]
    assert labels_of(panels[0]) == ["data", "model"]


TABLE = [
    Column("job", Kind.CATEGORY, ("clerk", "nurse", "a very long word")),
    Column("income", Kind.POSITIVE),
    Column("visits", Kind.COUNT),
    Column("day", Kind.DATE),
]
KINDS = torch.tensor(
    [[0.0, 10, 0, 18000], [0, 1e4, 1, 18100], [1, 1e3, 1, 18200], [2, 1e2, 3, torch.nan]]
)


def test_words_are_bars_and_counts_have_a_bin_each():
    panels = plots.samples(KINDS[[0, 0, 2, 3]].nan_to_num(18000.0), KINDS, TABLE).axes
    job, income, visits, day, *_ = panels
    assert [label.get_text() for label in job.get_xticklabels()] == ["clerk", "nurse", "a very l…"]
    assert [bar.get_height() for bar in job.patches] == [0.5, 0.25, 0.25] * 2  # data, then model
    assert income.get_xscale() == "log"
    assert [bar.get_height() for bar in visits.patches[:4]] == [0.25, 0.5, 0, 0.25]
    day.figure.savefig(io.BytesIO())  # which sets the ticks
    assert "2019" in day.xaxis.get_major_formatter().get_offset()


def test_words_that_are_taken_for_others_are_counted():
    made = KINDS.clone()
    made[1, 0] = 1.0
    made[:, 1] *= 10
    job, income, *_ = plots.reconstructions(KINDS, made, TABLE).axes
    assert job.get_title() == "job: 75% right"
    expected = [
        [0.5, 0, 0],
        [0.5, 1, 0],
        [0, 0, 1],
    ]  # of each column, as what it is made again
    assert job.images[0].get_array().tolist() == expected
    log_x = KINDS[:, 1].log10()
    share = 1 - len(log_x) / (log_x - log_x.mean()).square().sum()
    assert f"of logs = {share:.2f}" in income.texts[0].get_text()


def test_what_is_missing_from_images_has_a_colour_of_its_own():
    x = torch.tensor([0.0, 2.0, torch.nan, 1.0]).reshape(1, 1, 2, 2)
    for figure in (plots.reconstructions(x, x.nan_to_num()), plots.samples(x)):
        mosaic = figure.axes[0].images[0].get_array()
        np.testing.assert_allclose(mosaic[0, :2], [[0, 0, 0], [1, 1, 1]])
        np.testing.assert_allclose(mosaic[1, :2], [MISSING, [0.5] * 3])
    nothing = torch.full_like(x, torch.nan)
    mosaic = plots.samples(nothing).axes[0].images[0].get_array()
    np.testing.assert_allclose(mosaic[0, 0], MISSING)


def test_what_is_missing_from_a_table_is_left_out():
    x = torch.randn(100, 3)
    made, gaps = x + 0.1 * torch.randn(100, 3), torch.rand(100, 3) < 0.4
    gaps[:, 2] = True
    x[gaps] = torch.nan
    panels = plots.reconstructions(x, made).axes
    for i, panel in enumerate(panels[:2]):
        seen, y = x[~gaps[:, i], i], made[~gaps[:, i], i]
        shown = np.asarray(panel.collections[0].get_offsets())
        np.testing.assert_allclose(shown, torch.stack([seen, y], 1), rtol=1e-6)
        share = 1 - (y - seen).square().sum() / (seen - seen.mean()).square().sum()
        assert panel.texts[0].get_text() == f"$R^2$ = {share:.2f}"
    assert not panels[2].collections  # nothing is known of it
    histograms = [len(panel.patches) > 1 for panel in plots.samples(made, x).axes]
    assert histograms == [True, True, False]


def test_two_dimensions_are_shown_as_they_are():
    z = torch.randn(30, 2)
    (axes,) = plots.latent_space(z).axes
    np.testing.assert_allclose(axes.collections[0].get_offsets(), z, rtol=1e-6)
    assert axes.get_legend() is None


def test_more_dimensions_are_shown_by_what_explains_most():
    z = torch.randn(500, 4) * torch.tensor([10.0, 0.1, 5.0, 0.1])
    (axes,) = plots.latent_space(z).axes
    shown = np.asarray(axes.collections[0].get_offsets())
    *_, second, most = torch.linalg.eigvalsh(z.T.cov())
    np.testing.assert_allclose(shown.var(0, ddof=1), [most, second], rtol=1e-5)
    assert f"({most / z.var(0).sum():.0%} of the variance)" in axes.get_xlabel()


def test_classes_are_named():
    z, labels = torch.randn(30, 2), torch.arange(3).repeat(10)
    (axes,) = plots.latent_space(z, labels, ["ox", "cow", "calf"]).axes
    assert labels_of(axes) == ["ox", "cow", "calf"]
    (axes,) = plots.latent_space(torch.randn(60, 2), torch.arange(30).repeat(2)).axes
    assert axes.get_legend() is None
    assert {text.get_text() for text in axes.texts} == {str(i) for i in range(30)}


def test_one_dimension_is_a_histogram():
    (axes,) = plots.latent_space(torch.randn(40, 1), torch.arange(2).repeat(20)).axes
    assert labels_of(axes) == ["0", "1"]


@pytest.mark.parametrize("ending", plots.ENDINGS)
def test_the_same_picture_is_the_same_file(tmp_path, ending):
    for name in "ab":
        plots.save(plots.learning_curve(METRICS), tmp_path / f"{name}{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
    assert len([*tmp_path.iterdir()]) == 2


def test_a_png_is_a_picture(tmp_path):
    plots.save(plots.samples(torch.rand(4, 1, 8, 8)), tmp_path / "samples.PNG")
    image = imread(tmp_path / "samples.PNG")
    assert image.shape[0] > 200
    assert image.std() > 0.1


def test_an_unknown_ending_writes_nothing(tmp_path):
    with refused("curve.gif", expected=".png, .pdf or .svg"):
        plots.save(plots.learning_curve(METRICS), tmp_path / "curve.gif")
    assert not [*tmp_path.iterdir()]


def test_no_global_state_is_touched():
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.learning_curve(METRICS)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.filterwarnings("error")
def test_names_in_letters_that_the_font_lacks_are_no_warning(tmp_path):
    plots.save(plots.samples(torch.randn(9, 1), None, ["名前"]), tmp_path / "a.png")
