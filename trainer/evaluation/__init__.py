"""Metrics, tables and the report of trained models."""
