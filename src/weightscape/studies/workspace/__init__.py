"""The folder that holds results: publishing, reading, checking and clearing it."""
