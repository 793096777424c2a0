"""Subjects: numbers in, a posed mesh with joints out. numpy only."""
