"""Networks, training recipes, and the export to proven, signed model packages."""
