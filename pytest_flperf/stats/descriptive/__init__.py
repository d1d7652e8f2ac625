"""Summaries of one side: distributions, rates, failures."""
