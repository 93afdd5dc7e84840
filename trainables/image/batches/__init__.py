"""From stored pixels to batches on the device: read ahead, augmented, mixed, normalised."""
