"""Records of what a run measured, and the files that keep them.  Imports nothing of the package but the clock."""
