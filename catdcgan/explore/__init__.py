"""What one does with a generator: directions that change one property of its cats."""
