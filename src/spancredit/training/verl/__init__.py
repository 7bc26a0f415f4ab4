"""Span credit inside verl, on its own extension points: a trainer and a worker, loaded as a plugin.

settings -> trainer (driver) -> worker (where the policy's shards are) -> token weights -> advantages
"""
