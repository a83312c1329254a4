"""The columns of a table: their kinds, names and gaps."""
