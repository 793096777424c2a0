"""The five parts of the model: encoder, pose head, uplift, analytic skeleton image, image renderer; and their discriminator."""
