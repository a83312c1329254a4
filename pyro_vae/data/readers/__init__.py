"""Readers: each turns a file, a folder or a named data set into rows as they are stored."""
