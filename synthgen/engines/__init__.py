"""Engines: what turns a stage into passes; `opening` opens the one that a recipe names."""
