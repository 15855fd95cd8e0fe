"""Networks glued at a layer: the front of one, a trained or fitted stitch, the rest of another."""
