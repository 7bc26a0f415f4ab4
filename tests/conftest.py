"""Tiny models run fastest on one thread, and do not disturb each other on a shared machine."""

import torch

torch.set_num_threads(1)
