"""Make up data: rows as the file could have them, also given some columns; and what they are worth."""
