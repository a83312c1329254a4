"""A function of the user's that a fit calls after each epoch, and that cannot change or end the fit."""

import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from pyro_vae.errors import first_line
from pyro_vae.inference.svi.fit_result import FitResult
from pyro_vae.program.generators import generators_as_found
from pyro_vae.tracking import EpochEvent
from pyro_vae.user_code import program_line

OnEpoch = Callable[[EpochEvent], Any]


class Hook:
    """Call a function after each epoch; where it raises, name it, and go on without it.

    The random generators are as they were after each call.

    Args:
        function: the function, if there is one.
    """

    def __init__(self, function: OnEpoch | None = None) -> None:
        self.function, self.notes = function, list[str]()

    def __call__(self, event: EpochEvent, bar: tqdm, save: Callable[[], None]) -> None:
        """Tell of an epoch; ``save`` is called where the function ends the program, as by Ctrl-C."""
        if self.function is None:
            return
        try:
            with generators_as_found():
                self.function(event)
        except Exception as error:
            self.notes.append(_in_words(self.function, error, event.epoch))
            self.function = None
            if not bar.disable:
                bar.write(self.notes[-1], file=sys.stderr)
        except BaseException:
            save()
            raise

    def noted(self, result: FitResult) -> FitResult:
        """Return the result of a fit with a note on the function, if it raised."""
        return replace(result, notes=(*result.notes, *self.notes)) if self.notes else result


def _in_words(function: OnEpoch, error: Exception, epoch: int) -> str:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    line = program_line(traceback.walk_tb(error.__traceback__))
    where = "" if line is None else f" ({line})"
    raised = f"{type(error).__name__} after epoch {epoch:,}: {first_line(error)}{where}"
    return f"on_epoch: {name} raised {raised}; the fit went on without it"
