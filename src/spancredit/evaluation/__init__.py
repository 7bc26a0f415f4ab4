"""Completions of a list of problems, and how many are right."""
