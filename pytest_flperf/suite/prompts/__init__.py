"""Prompts: sources, data sets, templates, synthetic text."""
