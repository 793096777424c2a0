"""People on SMPL, SMPL-H and SMPL-X bodies, whose weights the user has."""
