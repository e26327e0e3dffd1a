"""What a run writes into its folder, and what it needs to go on."""
