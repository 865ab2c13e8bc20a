"""The model on this machine: text in and out, grammars, and the engine in its own process."""
