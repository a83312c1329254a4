"""One self-contained HTML page for a run of the command line, or for several side by side."""
