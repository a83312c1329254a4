"""Sequences: transitions of a state, and the steps of data."""
