"""Measures of similarity, one idea a file."""
