"""The contract that synthgen and trainer share: skeletons, cameras, samples and how they are stored."""
