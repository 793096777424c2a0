"""People on the MakeHuman body: shape, clothes, motion and the subject adapter."""
