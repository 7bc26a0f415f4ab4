"""Counterfactuals that are run: a statement is taken out of a program, and its tests say what it was good for."""
