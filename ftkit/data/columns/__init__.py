"""Which columns of a file hold what, told by their names and by what is in them."""
