"""The command line: one file per command group, loaded when the command is called."""
