"""Comparisons of settings: the same training again and again with one thing changed, several seeds, one table."""
