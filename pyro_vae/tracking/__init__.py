"""Hooks of :func:`pyro_vae.fit` that send each epoch's figures to a tracking service.

A tracked run is the same run, to the last bit. Each service is a package of its own, which only it needs.
"""

from pyro_vae.tracking.event import EpochEvent
from pyro_vae.tracking.mlflow import MLflow
from pyro_vae.tracking.tensorboard import TensorBoard
from pyro_vae.tracking.tracker import Tracker
from pyro_vae.tracking.wandb import WandB

TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}

__all__ = ["TRACKERS", "EpochEvent", "MLflow", "TensorBoard", "Tracker", "WandB"]
