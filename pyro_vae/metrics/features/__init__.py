"""Features that sample metrics compare, a kind a file."""
