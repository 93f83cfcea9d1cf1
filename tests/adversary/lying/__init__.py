"""A server in memory that can lie, and parties who look at what it tells them."""
