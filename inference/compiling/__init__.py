"""A step or a density as one graph of tensor operations, without Python."""
