"""Direct matching: the stitch that makes the front's activations most like the back's, from their moments alone."""
