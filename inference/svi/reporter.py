"""What an objective says of an epoch besides its figure, and a sheet of draws every so often."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyro_vae.data import Batch, Batches
from pyro_vae.inference.objectives import Objective
from pyro_vae.inference.svi.batch_loss import BatchLoss
from pyro_vae.inference.svi.fit_result import figure_title, monitored_figure
from pyro_vae.inference.svi.run_storage import Metrics
from pyro_vae.inference.svi.settings import Settings
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.redrawing import mean_of, redrawing
from pyro_vae.program.trace import run, sample_sites

ROWS, IMAGES, SHEETS = 512, 64, 10


class Reporter:
    """Add an objective's own figures to the record of an epoch, on some of its rows, with fixed noise.

    Where data are images and a run has a folder, draws of the prior go into ``samples/epoch_0010.png``
    there: after the first epoch, and ten times in a run. All sheets show the same latents.
    """

    def __init__(
        self, loss: BatchLoss, train: Batches, folder: Path | None, settings: Settings
    ) -> None:
        self.loss, self.train, self.folder, self.settings = loss, train, folder, settings
        self.objective = loss.elbo if isinstance(loss.elbo, Objective) else None

    def __call__(self, epoch: int) -> dict[str, float]:
        """Return the figures after an epoch; nothing where the objective has none."""
        if self.objective is None or type(self.objective).report is Objective.report:
            return {}
        program, batch = self.loss.program, self._rows(epoch)
        with undisturbed(program, self.settings.seed):
            figures = self.objective.report(program, batch)
        if self.folder is not None and self._is_due(epoch):
            sheet = self._draws([x[:IMAGES] for x in batch])
            if sheet is not None:
                _save_sheet(*sheet, self.folder / "samples" / f"epoch_{epoch:04}.png", epoch)
        return figures

    def verdict(self, metrics: Sequence[Mapping[str, Any]]) -> str:
        """Return what the objective says of the fit; "" for what any fit says."""
        return "" if self.objective is None else self.objective.verdict(metrics)

    def headline(self, metrics: Metrics, beta_name: str, times: str) -> str:
        """Return what a progress bar shows of an epoch; ``times`` is what the run counts."""
        name, value = monitored_figure(metrics)
        weighted = "KL-weighted " * (name == "train_elbo" and metrics[beta_name] != 1)
        figure = f"{weighted}{figure_title(name)} {value:.2f} nats"
        own = "" if self.objective is None else self.objective.headline(metrics)
        return f"{times[:-1]} {metrics['epoch']:,}, {own or figure}"

    def _rows(self, epoch: int) -> Batch:
        order = self.loss.minibatching.order(self.settings.seed, epoch - 1)[:ROWS]
        return next(self.train.take(order, len(order)))

    def _is_due(self, epoch: int) -> bool:
        every = math.ceil(self.settings.epochs / SHEETS)
        return epoch == 1 or epoch % every == 0 or epoch == self.settings.epochs

    def _draws(self, args: Sequence[Tensor]) -> tuple[Tensor, Tensor] | None:
        """Return images that the model draws, and the data; None where these are no images."""
        program, observed = self.loss.program, dict[str, Tensor]()
        with undisturbed(program, self.settings.seed), torch.no_grad():
            sites = sample_sites(run("model", redrawing(program.model, observed), args, {}))
        of_images = (name for name, value in observed.items() if value.dim() == 4)
        name = next(of_images, None)
        return None if name is None else (mean_of(sites[name]), observed[name])


def _save_sheet(images: Tensor, data: Tensor, path: Path, epoch: int) -> None:
    from pyro_vae import plots  # matplotlib takes a second, which a fit without a folder saves

    path.parent.mkdir(exist_ok=True)
    plots.save(
        plots.samples(images, data, caption=f"draws of the model after epoch {epoch:,}"), path
    )
