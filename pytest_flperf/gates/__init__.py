"""Gates: verdicts from budgets and comparisons."""
