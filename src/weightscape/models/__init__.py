"""What networks are: architectures by name, one family a file, layer tables, heads."""
