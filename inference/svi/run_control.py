"""When a fit saves, compiles and stops."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RunControl:
    """Hold what tests and benchmarks change about a fit; no result depends on it.

    Attributes:
        stop_after: steps after which this call ends, saved as at Ctrl-C; None to run to the end.
        save_every: seconds between two saves, which a kill can cost.
        checks_each_loss: whether the host looks at the loss of each step; if not, it does so once an epoch.
            None: on a CPU, where nothing waits for it.
        steps_worth_a_graph: steps with batches of one size from which a graph is worth making. Tracing and
            checking cost what some hundred steps save, Inductor what some thousands save; both grow with
            the program, as the savings do. Counted in steps, not seconds, so that a run can be repeated.
        steps_worth_inductor: steps from which Inductor is.
    """

    stop_after: int | None = None
    save_every: float = 10.0
    checks_each_loss: bool | None = None
    steps_worth_a_graph: int = 1000
    steps_worth_inductor: int = 10_000
