"""Every model through one door: timm's, torchvision's, our own; their weights, and what of them is trained."""
