"""Stored runs: the store, baselines, histories of cases."""
