"""What to measure next.  So far: a fixed number of requests in a closed loop."""
