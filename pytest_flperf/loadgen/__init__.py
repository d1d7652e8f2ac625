"""Load generator: request plans and the load processes that run them."""
