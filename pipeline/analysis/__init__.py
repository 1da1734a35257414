"""What trained networks do, and how arms compare: evaluation, diagnosis, statistics, tables and timing.

It computes numbers and tables of numbers; their words and pictures are the report's.
"""
