"""Record a run of a model or guide as a graph."""
