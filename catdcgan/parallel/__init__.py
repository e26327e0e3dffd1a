"""Several processes, on one machine or on many, train one model together."""
