"""What can be asked of a server, one interface a file."""
