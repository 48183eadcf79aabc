"""What the registry knows of each system: names, sizes and published figures, without torch."""
