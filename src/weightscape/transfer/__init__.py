"""Learning-trajectory transfer: synthesise the training of one initialisation from that of another."""
