"""What the two papers report, and the comparisons that repeat their tables."""
