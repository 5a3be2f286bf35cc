"""The HTML report on one split: tables, charts and example images."""
