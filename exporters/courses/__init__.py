"""How each network of the zoo is trained: one course a system."""
