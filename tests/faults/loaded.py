"""What each life needs, loaded once."""
