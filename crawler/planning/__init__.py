"""What a night would cost and bring."""
