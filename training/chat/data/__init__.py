"""Training data for the built-in chat model, made by rule: nothing is downloaded."""
