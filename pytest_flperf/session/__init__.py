"""The life of a run without pytest: recovery."""
