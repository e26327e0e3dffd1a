"""What surrounds training: a run's folder, record, checkpoints, history, schedule, progress, signals."""
