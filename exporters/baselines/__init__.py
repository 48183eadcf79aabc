"""Methods without learning that the zoo's networks are measured against."""
