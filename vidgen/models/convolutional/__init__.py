"""Deep convolutional prediction: all future frames from all past ones at once (SimVP)."""
