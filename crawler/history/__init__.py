"""What is published: read, compared and carried."""
