"""Models compared on the same data: what is compared, the columns of the table (a kind a file), the result."""
