"""Verdicts: budgets today, comparisons later."""
