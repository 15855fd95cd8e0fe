"""Permutation symmetries: discover, verify, apply, match."""
