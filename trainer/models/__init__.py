"""The five parts of the model (encoder, pose head, uplift, skeleton image, image renderer) and their discriminator."""
