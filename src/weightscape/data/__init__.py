"""What networks see: catalogue, readers, splits, batches, augmentation."""
