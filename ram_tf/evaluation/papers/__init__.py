"""The papers' published results, and the comparisons of their tables."""
