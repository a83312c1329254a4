"""Models compared on the same data: the lineup, the columns of the table (a kind a file), the result."""
