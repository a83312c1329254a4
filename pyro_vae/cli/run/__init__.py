"""A run: its configuration, its folder, whose code it may load, and its trained model with data."""
