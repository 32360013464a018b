"""Where and how runs execute."""
