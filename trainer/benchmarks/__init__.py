"""Readers of the field's benchmarks, each in its own published layout, and the metrics that each is published with."""
