"""Suites: reading, validation, and expansion into cases."""
