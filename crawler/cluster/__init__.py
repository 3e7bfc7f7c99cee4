"""A crawl by several processes: what driver and workers say to each other, and what each side does."""
