"""When a fit saves, compiles and stops."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RunControl:
    """Hold what tests and benchmarks change about a fit; no result depends on it."""

    stop_after: int | None = None  # steps after which this call ends, saved as at Ctrl-C
    save_every: float = 10.0  # seconds, which a kill can cost
    checks_each_loss: bool | None = None  # or once an epoch; None: only on a CPU

    # Steps with batches of one size from which a graph, and Inductor, are worth it. Tracing and checks cost
    # what some hundred steps save, Inductor what some thousands save; both grow with the program, as the
    # savings do. Counted in steps, not seconds, so that a run can be repeated.
    steps_worth_a_graph: int = 1000
    steps_worth_inductor: int = 10_000
