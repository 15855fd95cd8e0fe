"""Parameter dictionaries: arithmetic, files, trajectories, batch-norm statistics."""
