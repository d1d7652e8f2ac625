"""Results of a run: records, and the files that keep them.

Imports nothing of the package but the clock.
"""
