"""Transfer of learning trajectories between initialisations."""
