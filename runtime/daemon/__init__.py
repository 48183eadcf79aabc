"""What flies: one mission file, one process, one slot after the other."""
