"""Choosers: a recipe and a scene number give a SceneSpec. All randomness of synthgen is here."""
