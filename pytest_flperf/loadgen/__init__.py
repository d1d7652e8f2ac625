"""Request plans and the load process that plays them."""
