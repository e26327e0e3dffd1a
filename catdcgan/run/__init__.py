"""What a run writes to its folder, and what it needs to continue."""
