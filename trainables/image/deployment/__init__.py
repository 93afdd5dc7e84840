"""The model package: exported, verified, and used without PyTorch."""
