"""What the doctor looks at, a file for each: the installation, a home, a server, and what adapters speak to."""
