"""Read what other projects wrote."""
