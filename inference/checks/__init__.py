"""What is refused because Pyro does not notice it."""
