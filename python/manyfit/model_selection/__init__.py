"""Searches for hyperparameters, and cross-validation, that share work among fits."""
