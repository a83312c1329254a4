"""Pyro's example programs as cases for `pyro_examples.py`: how they are loaded, made and tried."""
