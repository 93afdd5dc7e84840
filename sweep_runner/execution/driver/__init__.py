"""What runs one sweep in the driver's process: from its data to its published model."""
