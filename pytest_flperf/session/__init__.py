"""Recovery of killed runs, without pytest."""
