"""The built-in image classifier: from a folder of images and a config to a model package."""
