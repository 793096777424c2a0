"""The loop, its stages and losses, checkpoints and logs."""
