"""Networks that others trained and wrote in formats of their own."""
