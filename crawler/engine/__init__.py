"""The worker pool, the gates and the page loop; it sees the world through Protocols."""
