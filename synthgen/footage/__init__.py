"""From real, unlabelled video and photographs to shards."""
