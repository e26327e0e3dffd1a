"""What one does with a trained generator: sampling, knobs, doubles of photos."""
