"""What maintains the repository; no stage uses it."""
