"""What credit costs, measured: work -> contestants -> seconds and bytes -> ratios to one policy forward -> tables."""
