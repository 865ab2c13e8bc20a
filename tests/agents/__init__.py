"""Tests of nearfar.agents."""
