"""Arithmetic from samples to the numbers of a case, in plain Python; numpy and scipy only where sides are compared."""
