"""Arithmetic from samples to the numbers of a case.  Plain Python: there is no numpy on a bare machine."""
