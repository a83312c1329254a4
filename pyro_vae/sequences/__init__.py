"""Sequences: how a state moves from step to step, and which steps there are."""
