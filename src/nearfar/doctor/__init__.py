"""Tries every part of Nearfar on this machine and says what to do about each problem."""
