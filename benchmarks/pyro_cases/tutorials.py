"""The programs of Pyro's tutorials."""
