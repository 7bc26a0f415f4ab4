"""Adapters to training engines: token weights -> `(B, T)` advantages -> the engine's own loss."""
