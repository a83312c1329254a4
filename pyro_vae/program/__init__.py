"""What a program is, one run of it, and how that is read."""
