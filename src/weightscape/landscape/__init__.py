"""Loss landscapes: what lies between two networks."""
