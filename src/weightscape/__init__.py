"""Train populations of neural networks and chart what they learn, transfer and share."""

__version__ = "0.1.0"
