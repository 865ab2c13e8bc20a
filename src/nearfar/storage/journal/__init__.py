"""The journal of runs: what was accepted, how far it is, and who works on it."""
