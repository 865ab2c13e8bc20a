"""What other programs reach Nearfar by."""
