"""Decisions about two sides: tests, intervals, effect sizes."""
