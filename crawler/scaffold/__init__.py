"""What `crawler init` writes: a folder to begin with, and what starts the program every night."""
