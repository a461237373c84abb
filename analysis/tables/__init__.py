"""What a table is made of."""
