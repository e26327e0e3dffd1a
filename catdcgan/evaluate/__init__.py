"""How good a generator's pictures are: figures compared with those of photos, and sheets to look at."""
