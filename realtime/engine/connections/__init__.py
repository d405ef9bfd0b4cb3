"""Live connections: which process holds which, as the admin shows them, and how they are ended from anywhere."""
