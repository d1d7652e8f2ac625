"""Statistics: from samples to results, and comparisons of two sides.

Plain Python; numpy and scipy only where sides are compared.
"""
