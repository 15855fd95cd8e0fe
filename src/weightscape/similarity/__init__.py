"""Representations of networks: what their units respond to, and how alike two of them are."""
