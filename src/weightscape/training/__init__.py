"""How networks learn: recipes, one run, exact resume, evaluation."""
