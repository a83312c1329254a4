"""Output: notes and tables on the terminal, error messages and exit codes, files."""
