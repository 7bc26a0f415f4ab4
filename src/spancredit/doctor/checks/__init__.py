"""Checks: from facts to findings. Each is a small function that fires or says nothing."""
