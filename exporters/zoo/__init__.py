"""The three networks of the pool, written here, with torchvision's parameter names."""
